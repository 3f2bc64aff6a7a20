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

{{- /* The port that a URL leads to. */ -}}
{{- define "sentinel.port" -}}
{{- $url := urlParse . -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{- /* Whether the scorer asks the ledger's NATS: what it says is on a page that somebody reads. Empty for no. */ -}}
{{- define "sentinel.asksQueue" -}}
{{- if and .Values.monitoring.enabled .Values.ledger.enabled -}}
yes
{{- end -}}
{{- end -}}

{{- define "sentinel.queueUrl" -}}
http://{{ .Values.ledger.poster.autoscaling.natsMonitoring }}
{{- end -}}

{{- /* The scorer's whole configuration: the one that Kustomize has, what values say, and over it `scorer.config`. */ -}}
{{- define "sentinel.scorerConfig" -}}
{{- $own := .Files.Get "files/scorer.yaml" | fromYaml -}}
{{- $said := dict "mode" .Values.scorer.mode "senders" (dict "alertmanager" (dict "urls" .Values.scorer.alertmanagers)) "store" (dict "max_bytes" (include "sentinel.storeMax" .)) -}}
{{- $shown := dict -}}
{{- if .Values.monitoring.enabled -}}
{{- $shown = .Files.Get "files/boards.yaml" | fromYaml -}}
{{- end -}}
{{- $links := dict -}}
{{- with .Values.monitoring.sentinelUrl -}}
{{- $_ := set $links "web" (dict "external_url" (trimSuffix "/" .)) -}}
{{- end -}}
{{- with .Values.monitoring.runbooksUrl -}}
{{- $_ := set $links "incidents" (dict "runbooks_url" (trimSuffix "/" .)) -}}
{{- end -}}
{{- $queue := dict -}}
{{- if include "sentinel.asksQueue" . -}}
{{- $queue = .Files.Get "files/queue.yaml" | fromYaml -}}
{{- $target := index $queue.scrapers.nats 0 -}}
{{- $_ := set $target "urls" (list (include "sentinel.queueUrl" .)) -}}
{{- end -}}
{{- mergeOverwrite $own $said $shown $links $queue (deepCopy .Values.scorer.config) | toYaml -}}
{{- end -}}

{{- /* Servers that are asked for the past alone, as a list: given so, or in a file as `sentinel discover` writes it. Empty where there is none. */ -}}
{{- define "sentinel.pastServers" -}}
{{- $backfill := .Values.scorer.backfill -}}
{{- if $backfill.enabled -}}
{{- $servers := $backfill.servers -}}
{{- if kindIs "string" $servers -}}
{{- $servers = dig "scrapers" "prometheus_queries" list (fromYaml $servers) -}}
{{- end -}}
{{- with $servers -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Alert rules with links that lead somewhere; deploy/links.py does the same to what Kustomize makes. */ -}}
{{- define "sentinel.linkedRules" -}}
{{- $text := .text -}}
{{- with .monitoring.runbooksUrl -}}
{{- $address := trimSuffix "/" . -}}
{{- range $quote := list "" "\"" "'" -}}
{{- $text = $text | replace (printf "runbook_url: %sdocs/runbooks/" $quote) (printf "runbook_url: %s%s/" $quote $address) -}}
{{- end -}}
{{- end -}}
{{- with .monitoring.grafanaUrl -}}
{{- $address := trimSuffix "/" . -}}
{{- range $quote := list "" "\"" "'" -}}
{{- $text = $text | replace (printf "dashboard_url: %sd/" $quote) (printf "dashboard_url: %s%s/d/" $quote $address) -}}
{{- end -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{- define "sentinel.linkedBoard" -}}
{{- $text := .text -}}
{{- with .monitoring.runbooksUrl -}}
{{- $text = $text | replace "https://runbooks.example" (trimSuffix "/" .) -}}
{{- end -}}
{{- with .monitoring.sentinelUrl -}}
{{- $text = $text | replace "http://127.0.0.1:9640" (trimSuffix "/" .) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{- /* Whether pages go out. */ -}}
{{- define "sentinel.mode" -}}
{{ get .Values.scorer.config "mode" | default .Values.scorer.mode }}
{{- end -}}

{{- /* A quantity of memory or storage in bytes, whole. */ -}}
{{- define "sentinel.bytes" -}}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "P" 1000000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 -}}
{{- $number := regexFind "^[0-9.]+" . -}}
{{- mulf (float64 $number) (index $factors (trimPrefix $number .)) | floor | int64 -}}
{{- end -}}

{{- /* Three quarters of the volume, as a setting of Sentinel's: the rest is for queues, and for what SQLite holds while it writes. */ -}}
{{- define "sentinel.storeMax" -}}
{{- $mebibytes := div (mul 3 (div (include "sentinel.bytes" .Values.scorer.storage.size | int64) 1048576)) 4 -}}
{{- if mod $mebibytes 1024 -}}
{{ $mebibytes }}MiB
{{- else -}}
{{ div $mebibytes 1024 }}GiB
{{- end -}}
{{- end -}}
