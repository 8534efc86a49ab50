{{- /* What values.schema.json cannot say: values that do not go together, and changes that would lose something. */ -}}

{{- define "rookery.check" -}}
{{- $values := .Values -}}
{{- if not $values.cluster.id -}}
{{- fail "cluster.id is not set: it is in the file cluster-id of the folder that `rookery init --cluster-dir` has made" -}}
{{- end -}}
{{- if not $values.proxy.hostname -}}
{{- fail "proxy.hostname is not set: say the name by which mail clients know the proxies" -}}
{{- end -}}
{{- if not (regexMatch "^[a-z][-a-z0-9]*$" (include "rookery.fullname" .)) -}}
{{- fail "the release's name cannot be part of nodes' ids, which have small letters, digits and hyphens: choose another, or set fullnameOverride" -}}
{{- end -}}
{{- if not (omit (fromJson (include "rookery.mailPorts" .)) "lmtp") -}}
{{- fail "proxy.service.ports names no port: mail clients would have no way in" -}}
{{- end -}}
{{- include "rookery.refuseOtherMode" . -}}
{{- $issuer := $values.nodeCertificates.issuer -}}
{{- if and $issuer.create (ne $issuer.kind "Issuer") -}}
{{- fail "nodeCertificates.issuer.create makes an Issuer: set create to false to use a ClusterIssuer that is there" -}}
{{- end -}}
{{- if and (not $issuer.create) (not $issuer.name) (ne $values.nodeCertificates.source "secrets") -}}
{{- fail "nodeCertificates.issuer.name is not set: name the issuer of the cluster's CA, or have one made" -}}
{{- end -}}
{{- if le (int $values.proxy.drainSeconds) (int $values.proxy.patienceSeconds) -}}
{{- fail "proxy.drainSeconds must be more than proxy.patienceSeconds, or a proxy that stops would cut off commands that still wait" -}}
{{- end -}}
{{- if gt (int $values.proxy.autoscaling.minReplicas) (int $values.proxy.autoscaling.maxReplicas) -}}
{{- fail "proxy.autoscaling.minReplicas is more than proxy.autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and $values.proxy.lmtp.enabled $values.networkPolicy.enabled (not $values.proxy.lmtp.from) -}}
{{- fail "proxy.lmtp.from is not set: LMTP asks for no password, so say which peers may connect" -}}
{{- end -}}
{{- if eq $values.mode "cluster" -}}
{{- if lt (int $values.mailstore.replicas) (int $values.cluster.shardReplicas) -}}
{{- fail (printf "mailstore.replicas is %d, but each shard has %d replicas on different mailstores (cluster.shardReplicas)" (int $values.mailstore.replicas) (int $values.cluster.shardReplicas)) -}}
{{- end -}}
{{- if lt (int $values.cluster.expectedMailstores) (int $values.cluster.shardReplicas) -}}
{{- fail "cluster.expectedMailstores must be at least cluster.shardReplicas: the first placement needs so many mailstores" -}}
{{- end -}}
{{- if ne $values.nodeCertificates.source "csiDriver" -}}
{{- $proxies := ternary $values.proxy.autoscaling.maxReplicas $values.proxy.replicas $values.proxy.autoscaling.enabled -}}
{{- if or (gt (int $values.mailstore.replicas) (int $values.mailstore.nodesMax)) (gt (int $proxies) (int $values.proxy.nodesMax)) -}}
{{- fail "there are more mailstores or proxies than mailstore.nodesMax or proxy.nodesMax: nodes above it would have no certificate" -}}
{{- end -}}
{{- end -}}
{{- else if ne (int $values.cluster.shardReplicas) 1 -}}
{{- fail "a single node has one replica of each shard: set cluster.shardReplicas and cluster.expectedMailstores to 1" -}}
{{- end -}}
{{- end -}}

{{- /* A member's vote is not taken away by starting fewer members: the rest would lack a majority. */ -}}
{{- define "rookery.refuseFewerMembers" -}}
{{- $held := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "rookery.componentName" (dict "root" . "component" "directory")) -}}
{{- if and $held (gt (int (dig "spec" "replicas" 0 $held)) (int .Values.directory.replicas)) -}}
{{- fail "directory.replicas is less than before: members of the directory cannot be taken away" -}}
{{- end -}}
{{- end -}}

{{- /* The other mode would leave the mail where nobody looks for it. */ -}}
{{- define "rookery.refuseOtherMode" -}}
{{- $other := ternary "mailstore" "single" (eq .Values.mode "single") -}}
{{- $held := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "rookery.componentName" (dict "root" . "component" $other)) -}}
{{- if $held -}}
{{- fail (printf "mode is %s, but the release was installed in the other mode: a backup can be restored into a new release (docs/backup.md)" .Values.mode) -}}
{{- end -}}
{{- end -}}
