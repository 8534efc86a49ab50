{{- /* The configuration file of each component: what the chart knows, then the site's own keys. */ -}}

{{- /* A table's keys, one a line; a table inside a table follows under its own heading: (dict "name" "proxy" "table" …). */ -}}
{{- define "rookery.table" -}}
[{{ .name }}]
{{- range $key := keys .table | sortAlpha }}
{{- $value := get $.table $key }}
{{- if not (kindIs "map" $value) }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- range $key := keys .table | sortAlpha }}
{{- $value := get $.table $key }}
{{- if kindIs "map" $value }}

{{ include "rookery.table" (dict "name" (printf "%s.%s" $.name $key) "table" $value) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "rookery.configuration" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $values := $root.Values -}}
{{- $listen := $values.cluster.listenAddress -}}
{{- $node := dict
  "cluster" $values.cluster.id
  "data" "/var/lib/rookery/data"
  "ca" "/etc/rookery/ca/ca.pem"
  "http" (printf "%s:8080" $listen) -}}
{{- if eq $values.nodeCertificates.source "csiDriver" -}}
{{- $_ := set $node "certificate" "/etc/rookery/node/tls.crt" -}}
{{- $_ := set $node "key" "/etc/rookery/node/tls.key" -}}
{{- end -}}
{{- $members := list -}}
{{- $addresses := list -}}
{{- range $ordinal := until (int $values.directory.replicas) -}}
{{- $pod := printf "%s-%d" (include "rookery.componentName" (dict "root" $root "component" "directory")) $ordinal -}}
{{- $address := printf "%s:7400" (include "rookery.podHost" (dict "root" $root "component" "directory" "pod" $pod)) -}}
{{- $members = append $members (dict "id" $pod "address" $address) -}}
{{- $addresses = append $addresses $address -}}
{{- end -}}
{{- if has $component (list "directory" "mailstore") -}}
{{- $_ := set $node "listen" (printf "%s:7400" $listen) -}}
{{- end -}}
{{- if has $component (list "mailstore" "proxy") -}}
{{- $_ := set $node "directory" $addresses -}}
{{- end -}}
{{ include "rookery.table" (dict "name" "node" "table" $node) }}

{{ include "rookery.table" (dict "name" "log" "table" $values.log) }}
{{- if has $component (list "directory" "single") }}
{{- $directory := merge (dict
  "shards" (int $values.cluster.shards)
  "replicas" (int $values.cluster.shardReplicas)
  "expected_mailstores" (int $values.cluster.expectedMailstores)
  "admin_listen" (printf "%s:7443" $listen)
  "admin_token_file" "/etc/rookery/admin/admin-token") $values.directory.config }}
{{- if $values.directory.authority.enabled }}
{{- $_ := set $directory "authority_key" "/etc/rookery/authority/ca.key" }}
{{- end }}

{{ include "rookery.table" (dict "name" "directory" "table" $directory) }}
{{- if eq $component "directory" }}
{{- range $members }}

[[directory.members]]
id = {{ toJson .id }}
address = {{ toJson .address }}
{{- end }}
{{- end }}
{{- end }}
{{- if has $component (list "mailstore" "single") }}

{{ include "rookery.table" (dict "name" "mailstore" "table" $values.mailstore.config) }}
{{- end }}
{{- if has $component (list "proxy" "single") }}
{{- $ports := dict }}
{{- range $name, $port := fromJson (include "rookery.mailPorts" $root) }}
{{- $_ := set $ports $name (printf "%s:%d" $listen (int $port)) }}
{{- end }}
{{- $proxy := merge (dict
  "hostname" $values.proxy.hostname
  "certificate" "/etc/rookery/tls/tls.crt"
  "key" "/etc/rookery/tls/tls.key"
  "patience" (printf "%ds" (int $values.proxy.patienceSeconds))
  "drain" (printf "%ds" (int $values.proxy.drainSeconds))
  "listen" $ports) $values.proxy.config }}
{{- with $values.proxy.service.proxyProtocol.from }}
{{- $_ := set $proxy "proxy_protocol_from" . }}
{{- end }}

{{ include "rookery.table" (dict "name" "proxy" "table" $proxy) }}
{{- end }}
{{- end -}}

{{- /* The ports that a pod listens on, by protocol: none is a privileged one. */ -}}
{{- define "rookery.mailPorts" -}}
{{- $all := dict "imap" 10143 "imaps" 10993 "smtp" 10025 "submission" 10587 "submissions" 10465 -}}
{{- $ports := dict -}}
{{- range $name, $port := $all -}}
{{- if get $.Values.proxy.service.ports $name -}}
{{- $_ := set $ports $name $port -}}
{{- end -}}
{{- end -}}
{{- if .Values.proxy.lmtp.enabled -}}
{{- $_ := set $ports "lmtp" 10024 -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}
