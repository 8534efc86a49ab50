{{- /* The pods of all components: one form, so that each has the same security, certificates and probes. */ -}}

{{- define "rookery.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "rookery.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* How many nodes of a component may have a Secret with their certificate. */ -}}
{{- define "rookery.nodesMax" -}}
{{- $values := .root.Values -}}
{{- get (dict "single" 1 "directory" 5 "mailstore" $values.mailstore.nodesMax "proxy" $values.proxy.nodesMax) .component | int -}}
{{- end -}}

{{- /* The names in a node's certificate: who it is, what a caller verifies, and where operators call the directory. */ -}}
{{- define "rookery.certificateNames" -}}
{{- $role := ternary "directory" .component (eq .component "single") -}}
{{- $names := list (printf "%s.%s.%s.rookery.internal" .pod $role .root.Values.cluster.id) (printf "%s.%s.rookery.internal" $role .root.Values.cluster.id) -}}
{{- if eq $role "directory" -}}
{{- $names = concat $names (list (include "rookery.podHost" .) "localhost") -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{- define "rookery.issuer" -}}
{{- default (printf "%s-nodes" (include "rookery.fullname" .)) .Values.nodeCertificates.issuer.name -}}
{{- end -}}

{{- /* The Secret with the CA's certificate and key. */ -}}
{{- define "rookery.caPair" -}}
{{- default .Values.cluster.ca.secret .Values.nodeCertificates.issuer.secret -}}
{{- end -}}

{{- define "rookery.caVolume" -}}
- name: ca
  secret:
    secretName: {{ .Values.cluster.ca.secret }}
    items:
      - key: {{ .Values.cluster.ca.key }}
        path: ca.pem
{{- end -}}

{{- define "rookery.adminTokenVolume" -}}
- name: admin-token
  secret:
    secretName: {{ .Values.cluster.adminToken.secret }}
    items:
      - key: {{ .Values.cluster.adminToken.key }}
        path: admin-token
{{- end -}}

{{- /* The CA's key. The group of the pod may read it, as Kubernetes makes it so (fsGroup), and nobody else. */ -}}
{{- define "rookery.authorityVolume" -}}
- name: authority
  secret:
    secretName: {{ include "rookery.caPair" . }}
    defaultMode: 0400
    items:
      - key: {{ .Values.directory.authority.key }}
        path: ca.key
{{- end -}}

{{- define "rookery.nodeVolume" -}}
{{- $certificates := .root.Values.nodeCertificates -}}
- name: node
{{- if eq $certificates.source "csiDriver" }}
  csi:
    driver: csi.cert-manager.io
    readOnly: true
    volumeAttributes:
      csi.cert-manager.io/issuer-name: {{ include "rookery.issuer" .root }}
      csi.cert-manager.io/issuer-kind: {{ $certificates.issuer.kind }}
      csi.cert-manager.io/issuer-group: {{ $certificates.issuer.group }}
      csi.cert-manager.io/dns-names: {{ include "rookery.certificateNames" (merge (dict "pod" "${POD_NAME}") .) | fromJsonArray | join "," | quote }}
      csi.cert-manager.io/key-usages: digital signature,server auth,client auth
      csi.cert-manager.io/key-algorithm: ECDSA
      csi.cert-manager.io/key-size: "256"
      csi.cert-manager.io/key-encoding: PKCS8
      csi.cert-manager.io/duration: {{ $certificates.duration }}
      csi.cert-manager.io/renew-before: {{ $certificates.renewBefore }}
      csi.cert-manager.io/fs-group: "65532"
{{- else }}
  projected:
    sources:
      {{- range $ordinal := until (int (include "rookery.nodesMax" .)) }}
      {{- $pod := printf "%s-%d" (include "rookery.componentName" $) $ordinal }}
      - secret:
          name: {{ $pod }}-node
          optional: true
          items:
            - {key: tls.crt, path: {{ $pod }}/tls.crt}
            - {key: tls.key, path: {{ $pod }}/tls.key}
      {{- end }}
{{- end }}
{{- end -}}

{{- define "rookery.environment" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: ROOKERY__NODE__ID
  value: $(POD_NAME)
{{- if ne .root.Values.nodeCertificates.source "csiDriver" }}
- name: ROOKERY__NODE__CERTIFICATE
  value: /etc/rookery/node/$(POD_NAME)/tls.crt
- name: ROOKERY__NODE__KEY
  value: /etc/rookery/node/$(POD_NAME)/tls.key
{{- end }}
{{- if has .component (list "directory" "mailstore") }}
- name: ROOKERY__NODE__ADVERTISE
  value: {{ include "rookery.podHost" (merge (dict "pod" "$(POD_NAME)") .) }}:7400
{{- end }}
{{- if ne .component "proxy" }}
- name: ROOKERY__NODE__HTTP_ADVERTISE
  value: {{ include "rookery.podHost" (merge (dict "pod" "$(POD_NAME)") .) }}:8080
{{- end }}
{{- if and (eq .component "mailstore") (ne .root.Values.mailstore.zoneFrom "none") }}
- name: ROOKERY__MAILSTORE__ZONE
  valueFrom:
    fieldRef:
      fieldPath: {{ ternary "spec.nodeName" (printf "metadata.labels['%s']" .root.Values.mailstore.zoneLabel) (eq .root.Values.mailstore.zoneFrom "machine") }}
{{- end }}
{{- end -}}

{{- /* A port that a Service leads to. */ -}}
{{- define "rookery.containerPorts" -}}
- {name: http, containerPort: 8080}
{{- if has .component (list "directory" "mailstore") }}
- {name: calls, containerPort: 7400}
{{- end }}
{{- if has .component (list "directory" "single") }}
- {name: admin, containerPort: 7443}
{{- end }}
{{- if has .component (list "proxy" "single") }}
{{- range $name, $port := fromJson (include "rookery.mailPorts" .root) }}
- {name: {{ $name }}, containerPort: {{ $port }}}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The pod template of a component: (dict "root" $ "component" … "settings" its values "grace" seconds "delay" seconds or 0). */ -}}
{{- define "rookery.podTemplate" -}}
{{- $root := .root -}}
{{- $component := .component -}}
metadata:
  labels:
    {{- include "rookery.selector" . | nindent 4 }}
  annotations:
    checksum/configuration: {{ include "rookery.configuration" . | sha256sum }}
    {{- with .settings.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "rookery.componentName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    {{- include "rookery.podSecurity" $root | nindent 4 }}
  terminationGracePeriodSeconds: {{ .grace }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .settings.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .settings.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .settings.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .settings.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: {{ ternary $root.Values.cluster.spread "ScheduleAnyway" (has $component (list "directory" "mailstore")) }}
      labelSelector:
        matchLabels:
          {{- include "rookery.selector" . | nindent 10 }}
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "rookery.selector" . | nindent 10 }}
  containers:
    - name: rookery
      image: {{ include "rookery.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [rookery]
      args: [{{ ternary "serve" $component (eq $component "single") }}, --config, /etc/rookery/configuration/rookery.toml]
      env:
        {{- include "rookery.environment" . | nindent 8 }}
      ports:
        {{- include "rookery.containerPorts" . | nindent 8 }}
      securityContext:
        {{- include "rookery.containerSecurity" $root | nindent 8 }}
      resources:
        {{- toYaml .settings.resources | nindent 8 }}
      livenessProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      {{- if .delay }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ .delay }}
      {{- end }}
      volumeMounts:
        - {name: configuration, mountPath: /etc/rookery/configuration, readOnly: true}
        - {name: ca, mountPath: /etc/rookery/ca, readOnly: true}
        - {name: node, mountPath: /etc/rookery/node, readOnly: true}
        {{- if has $component (list "directory" "single") }}
        - {name: admin-token, mountPath: /etc/rookery/admin, readOnly: true}
        {{- if $root.Values.directory.authority.enabled }}
        - {name: authority, mountPath: /etc/rookery/authority, readOnly: true}
        {{- end }}
        {{- end }}
        {{- if has $component (list "proxy" "single") }}
        - {name: tls, mountPath: /etc/rookery/tls, readOnly: true}
        {{- end }}
        - {name: data, mountPath: /var/lib/rookery}
  volumes:
    - name: configuration
      configMap:
        name: {{ include "rookery.componentName" . }}
    {{- include "rookery.caVolume" $root | nindent 4 }}
    {{- include "rookery.nodeVolume" . | nindent 4 }}
    {{- if has $component (list "directory" "single") }}
    {{- include "rookery.adminTokenVolume" $root | nindent 4 }}
    {{- if $root.Values.directory.authority.enabled }}
    {{- include "rookery.authorityVolume" $root | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- if has $component (list "proxy" "single") }}
    - name: tls
      secret:
        secretName: {{ $root.Values.proxy.tls.secret }}
    {{- end }}
    {{- if eq $component "proxy" }}
    - name: data
      emptyDir:
        sizeLimit: 64Mi
    {{- end }}
{{- end -}}

{{- define "rookery.volumeClaim" -}}
persistentVolumeClaimRetentionPolicy:
  whenScaled: Retain
  whenDeleted: Retain
volumeClaimTemplates:
  - metadata:
      name: data
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storageClassName }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .size }}
{{- end -}}
