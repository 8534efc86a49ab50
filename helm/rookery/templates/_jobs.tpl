{{- /* The pods of the chart's own jobs: the operator's commands, in a script out of files/. */ -}}

{{- /* (dict "root" $ "script" "drain" "environment" (dict …)). `$(` is written `$$(`: Kubernetes takes the former for a variable. */ -}}
{{- define "rookery.operatorPod" -}}
{{- $root := .root -}}
{{- $mailstore := ternary "mailstore" (include "rookery.componentName" (dict "root" $root "component" "mailstore")) (eq $root.Values.mode "single") -}}
serviceAccountName: {{ include "rookery.componentName" (dict "root" $root "component" "operator") }}
automountServiceAccountToken: false
enableServiceLinks: false
restartPolicy: Never
terminationGracePeriodSeconds: 10
securityContext:
  {{- include "rookery.podSecurity" $root | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
containers:
  - name: rookery
    image: {{ include "rookery.image" $root }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    command: [bash, -c]
    args:
      - |
        {{- printf "%s\n%s" ($root.Files.Get "files/cluster.sh") ($root.Files.Get (printf "files/%s.sh" .script)) | replace "$(" "$$(" | nindent 8 }}
    env:
      - {name: ROOKERY_ADMIN, value: {{ include "rookery.admin" $root | quote }}}
      - {name: ROOKERY_TOKEN_FILE, value: /etc/rookery/admin/admin-token}
      - {name: ROOKERY_CA, value: /etc/rookery/ca/ca.pem}
      - {name: MAILSTORE, value: {{ $mailstore }}}
      {{- range $name, $value := .environment }}
      - name: {{ $name }}
        value: {{ $value | toString | quote }}
      {{- end }}
    securityContext:
      {{- include "rookery.containerSecurity" $root | nindent 6 }}
    resources:
      requests: {cpu: 50m, memory: 64Mi}
      limits: {memory: 256Mi}
    volumeMounts:
      - {name: ca, mountPath: /etc/rookery/ca, readOnly: true}
      - {name: admin-token, mountPath: /etc/rookery/admin, readOnly: true}
      - {name: tmp, mountPath: /tmp}
volumes:
  {{- include "rookery.caVolume" $root | nindent 2 }}
  {{- include "rookery.adminTokenVolume" $root | nindent 2 }}
  - name: tmp
    emptyDir:
      sizeLimit: 16Mi
{{- end -}}
