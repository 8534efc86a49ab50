{{- /* What values.schema.json cannot say: values that do not go together, and changes that would lose something. */ -}}

{{- define "rookery.check" -}}
{{- $values := .Values -}}
{{- if not $values.cluster.id -}}
{{- fail "cluster.id is not set: it is in the file cluster-id of the folder that `rookery init --cluster-dir` has made" -}}
{{- end -}}
{{- if not $values.proxy.hostname -}}
{{- fail "proxy.hostname is not set: say the name by which mail clients know the proxies" -}}
{{- end -}}
{{- if le (int $values.proxy.drainSeconds) (int $values.proxy.patienceSeconds) -}}
{{- fail "proxy.drainSeconds must be more than proxy.patienceSeconds, or a proxy that stops would cut off commands that still wait" -}}
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
