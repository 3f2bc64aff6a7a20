{{- /* Roles that log in, by the names of their keys in the Secret of servers: of what is on, and of edge and poster always. */ -}}
{{- define "sentinel.ledgerRoles" -}}
{{- $roles := list "poster" "reader" -}}
{{- if .Values.ledger.webhooks.enabled }}{{ $roles = concat $roles (list "endpoints" "webhooks") }}{{ end -}}
{{- if .Values.ledger.audit.enabled }}{{ $roles = append $roles "audit" }}{{ end -}}
{{- if .Values.ledger.exports.enabled }}{{ $roles = concat $roles (list "exports" "exporter") }}{{ end -}}
{{- if .Values.ledger.analytics.enabled }}{{ $roles = append $roles "analytics" }}{{ end -}}
{{- if .Values.ledger.reconcile.enabled }}{{ $roles = append $roles "reconcile" }}{{ end -}}
{{- if .Values.ledger.disburse.enabled }}{{ $roles = append $roles "disburser" }}{{ end -}}
{{- join " " $roles -}}
{{- end -}}

{{- /* Parts of the ledger that get a sidecar, of those that are on. */ -}}
{{- define "sentinel.ledgerInjected" -}}
{{- $parts := list "edge" "poster" -}}
{{- range $part := list "webhooks" "audit" "exports" "analytics" "reconcile" "disburse" "archive" -}}
{{- if (index $.Values.ledger $part).enabled }}{{ $parts = append $parts $part }}{{ end -}}
{{- end -}}
{{- join " " $parts -}}
{{- end -}}

{{- /* Ports of webhooks beside 443, which is always allowed, as arguments of edge and sender. */ -}}
{{- define "sentinel.webhooksPorts" -}}
{{- range without .Values.ledger.webhooks.ports 443 443.0 }}
- --webhooks-port
- {{ . | quote }}
{{- end -}}
{{- end -}}

{{- /* Where the audit's witness is: given, or the chart's own. */ -}}
{{- define "sentinel.witnessUrl" -}}
{{ .Values.ledger.audit.witnessUrl | default (printf "http://%s-ledger-witness.%s.svc:8090" .Release.Name .Values.ledger.witness.namespace) }}
{{- end -}}

{{- /* By what a process that serves nothing is known to work: it touches a file while it does. */ -}}
{{- define "sentinel.ledgerAlive" -}}
{{- $command := list "/opt/sentinel/bin/python" "-I" "-S" "-c" "import os, time; assert time.time() - os.stat('/run/ledger/alive').st_mtime < 60" -}}
env:
  - name: LEDGER_HEARTBEAT_FILE
    value: /run/ledger/alive
  {{- range $name, $value := .env }}
  - name: {{ $name }}
    value: {{ $value }}
  {{- end }}
startupProbe:
  exec:
    command:
      {{- toYaml $command | nindent 6 }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 30
livenessProbe:
  exec:
    command:
      {{- toYaml $command | nindent 6 }}
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{- /*
A process of the ledger that serves nothing, and its budget of disruptions.
root; name; of, its key in the values where that is another; role, whose URL of PostgreSQL it has, if any; args; queue: whether NATS is among its servers; replicas;
alone: whether the old one must be gone before the new one comes; keys: items of its keysSecret; also: more of the Secret of servers;
more: arguments that follow; env: variables; scratch: room for what it writes and forgets; claim: a volume at /spool; ca: a ConfigMap with ca.crt at /etc/ledger-ca; user: whom it runs as.
*/ -}}
{{- define "sentinel.ledgerWorker" -}}
{{- $root := .root }}
{{- $of := index $root.Values.ledger (.of | default .name) }}
apiVersion: apps/v1
kind: Deployment
metadata:
  namespace: {{ $root.Values.ledger.namespace }}
  name: {{ $root.Release.Name }}-ledger-{{ .name }}
  labels:
    {{- include "sentinel.labels" $root | nindent 4 }}
    app.kubernetes.io/name: sentinel-ledger
    app.kubernetes.io/instance: {{ $root.Release.Name }}
    app.kubernetes.io/component: {{ .name }}
spec:
  replicas: {{ .replicas }}
  selector:
    matchLabels:
      app.kubernetes.io/name: sentinel-ledger
      app.kubernetes.io/instance: {{ $root.Release.Name }}
      app.kubernetes.io/component: {{ .name }}
  strategy:
    {{- if .alone }}
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 1
      maxSurge: 1
    {{- end }}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: sentinel-ledger
        app.kubernetes.io/instance: {{ $root.Release.Name }}
        app.kubernetes.io/component: {{ .name }}
      annotations:
        sentinel.dev/inject: "true"
        sentinel.dev/profile: {{ $of.profile }}
    spec:
      serviceAccountName: {{ $root.Release.Name }}-ledger
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- include "sentinel.placement" (dict "root" $root "of" $of) | nindent 6 }}
      terminationGracePeriodSeconds: 30
      securityContext:
        runAsNonRoot: true
        runAsUser: {{ .user | default 65532 }}
        runAsGroup: 65532
        {{- if .keys }}
        fsGroup: 65532
        {{- end }}
        seccompProfile:
          type: RuntimeDefault
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              app.kubernetes.io/name: sentinel-ledger
              app.kubernetes.io/instance: {{ $root.Release.Name }}
              app.kubernetes.io/component: {{ .name }}
      containers:
        # It serves nothing: that it works, and has not come to a standstill, is told by the age of a file. Rules watch the rest.
        - name: {{ .name }}
          image: {{ include "sentinel.image" (dict "image" $root.Values.ledger.image "chart" $root.Chart) }}
          args:
            {{- range .args }}
            - {{ . | quote }}
            {{- end }}
            {{- if .queue }}
            - --nats-url-file
            - /etc/ledger/nats-url
            {{- end }}
            {{- if .role }}
            - --postgres-url-file
            - /etc/ledger/{{ .role }}-url
            {{- end }}
            {{- with .more }}
            {{- . | nindent 12 }}
            {{- end }}
          {{- include "sentinel.ledgerAlive" . | nindent 10 }}
          resources:
            {{- toYaml $of.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            capabilities:
              drop:
                - ALL
            readOnlyRootFilesystem: true
          volumeMounts:
            {{- if or .role .queue }}
            - name: servers
              mountPath: /etc/ledger
              readOnly: true
            {{- end }}
            {{- if .keys }}
            - name: keys
              mountPath: /etc/ledger-keys
              readOnly: true
            {{- end }}
            - name: tmp
              mountPath: /tmp
            - name: alive
              mountPath: /run/ledger
            {{- if .scratch }}
            - name: scratch
              mountPath: /scratch
            {{- end }}
            {{- if .claim }}
            - name: spool
              mountPath: /spool
            {{- end }}
            {{- if .ca }}
            - name: ca
              mountPath: /etc/ledger-ca
              readOnly: true
            {{- end }}
      volumes:
        {{- if or .role .queue }}
        - name: servers
          secret:
            secretName: {{ $root.Values.ledger.serversSecret }}
            items:
              {{- if .queue }}
              - key: nats-url
                path: nats-url
              {{- end }}
              {{- if .role }}
              - key: {{ .role }}-url
                path: {{ .role }}-url
              {{- end }}
              {{- range .also }}
              - key: {{ . }}
                path: {{ . }}
              {{- end }}
        {{- end }}
        {{- if .keys }}
        - name: keys
          secret:
            secretName: {{ $of.keysSecret }}
            # Read by its own group alone; the process refuses keys that others can read.
            defaultMode: 256
            items:
              {{- range .keys }}
              - key: {{ . }}
                path: {{ . }}
              {{- end }}
        {{- end }}
        - name: tmp
          emptyDir:
            sizeLimit: 64Mi
        - name: alive
          emptyDir:
            sizeLimit: 1Mi
        {{- with .scratch }}
        - name: scratch
          emptyDir:
            sizeLimit: {{ . }}
        {{- end }}
        {{- with .claim }}
        - name: spool
          persistentVolumeClaim:
            claimName: {{ . }}
        {{- end }}
        {{- with .ca }}
        - name: ca
          configMap:
            name: {{ . }}
            items:
              - key: ca.crt
                path: ca.crt
        {{- end }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  namespace: {{ $root.Values.ledger.namespace }}
  name: {{ $root.Release.Name }}-ledger-{{ .name }}
  labels:
    {{- include "sentinel.labels" $root | nindent 4 }}
    app.kubernetes.io/name: sentinel-ledger
    app.kubernetes.io/instance: {{ $root.Release.Name }}
    app.kubernetes.io/component: {{ .name }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      app.kubernetes.io/name: sentinel-ledger
      app.kubernetes.io/instance: {{ $root.Release.Name }}
      app.kubernetes.io/component: {{ .name }}
{{- end -}}
