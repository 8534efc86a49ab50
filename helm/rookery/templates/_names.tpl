{{- /* Names and labels: what everything is called. Ids of nodes are names of pods, so these must never change. */ -}}

{{- define "rookery.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "rookery.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains (include "rookery.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "rookery.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The name of a component's workload, Service, ServiceAccount and so on: (dict "root" $ "component" "mailstore"). */ -}}
{{- define "rookery.componentName" -}}
{{- $fullname := include "rookery.fullname" .root -}}
{{- ternary $fullname (printf "%s-%s" $fullname .component) (eq .component "single") -}}
{{- end -}}

{{- define "rookery.selector" -}}
app.kubernetes.io/name: {{ include "rookery.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "rookery.labels" -}}
{{ include "rookery.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "rookery.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- /* Where a pod is found: (dict "root" $ "component" "directory" "pod" "x-directory-0"). */ -}}
{{- define "rookery.podHost" -}}
{{ .pod }}.{{ include "rookery.componentName" . }}.{{ .root.Release.Namespace }}.svc.{{ .root.Values.cluster.domain }}
{{- end -}}

{{- /* The components that run, by mode. */ -}}
{{- define "rookery.components" -}}
{{ ternary (list "single") (list "directory" "mailstore" "proxy") (eq .Values.mode "single") | toJson }}
{{- end -}}

{{- /* The component that speaks with mail clients. */ -}}
{{- define "rookery.frontComponent" -}}
{{ ternary "single" "proxy" (eq .Values.mode "single") }}
{{- end -}}

{{- /* Where the operator's API is, one address for each member of the directory. */ -}}
{{- define "rookery.admin" -}}
{{- $component := ternary "single" "directory" (eq .Values.mode "single") -}}
{{- $count := ternary 1 (int .Values.directory.replicas) (eq .Values.mode "single") -}}
{{- $addresses := list -}}
{{- range $ordinal := until $count -}}
{{- $pod := printf "%s-%d" (include "rookery.componentName" (dict "root" $ "component" $component)) $ordinal -}}
{{- $addresses = append $addresses (printf "https://%s:7443" (include "rookery.podHost" (dict "root" $ "component" $component "pod" $pod))) -}}
{{- end -}}
{{- join "," $addresses -}}
{{- end -}}
