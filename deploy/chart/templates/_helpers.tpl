{{- /* Labels that every object has besides its own name, instance and component. */ -}}
{{- define "sentinel.labels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sentinel
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* An image by digest where one is given, else by tag, else by the chart's version. */ -}}
{{- define "sentinel.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* Where pods may run: what is not set is not written. */ -}}
{{- define "sentinel.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "sentinel.tlsSecret" -}}
{{ .Values.scorer.tlsSecret | default (printf "%s-scorer-tls" .Release.Name) }}
{{- end -}}

{{- define "sentinel.tokensSecret" -}}
{{ .Values.scorer.tokensSecret | default (printf "%s-scorer-tokens" .Release.Name) }}
{{- end -}}

{{- /* The injector's certificate, where it does not make its own: given, or asked of cert-manager. Empty for its own. */ -}}
{{- define "sentinel.certificateSecret" -}}
{{ .Values.injector.certificateSecret | default (ternary (printf "%s-admission-cert" .Release.Name) "" .Values.injector.certManager) }}
{{- end -}}

{{- define "sentinel.certificate" -}}
{{ .Values.injector.certificate | default (ternary (printf "%s-admission" .Release.Name) "" .Values.injector.certManager) }}
{{- end -}}
