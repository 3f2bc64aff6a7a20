// Sends what a service would through OpenTelemetry's own exporters for Node.js, and says what came of it.
//
// One argument: JSON with a list of `plans`, each {service, transport, gzip, url, signals, spans, endMs, timeoutMs}; `transport`
// is http-proto, http-json (traces alone) or grpc. One line of JSON comes out: for each plan, what the exporters reported.
import { CompressionAlgorithm } from '@opentelemetry/otlp-exporter-base';
import { ExportResultCode } from '@opentelemetry/core';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { OTLPTraceExporter as ProtoTraces } from '@opentelemetry/exporter-trace-otlp-proto';
import { OTLPTraceExporter as JsonTraces } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as GrpcTraces } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPMetricExporter as ProtoMetrics } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPMetricExporter as GrpcMetrics } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPLogExporter as ProtoLogs } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPLogExporter as GrpcLogs } from '@opentelemetry/exporter-logs-otlp-grpc';

const BATCH = 50;

// An exporter that notes how each export ended.
function noted(exporter, results) {
  const send = exporter.export.bind(exporter);
  exporter.export = (items, done) =>
    send(items, (result) => {
      results.push(result.code === ExportResultCode.SUCCESS ? 'ok' : String(result.error?.code ?? 'failed'));
      done(result);
    });
  return exporter;
}

function options(plan, signal) {
  const url = plan.transport === 'grpc' ? plan.url : `${plan.url}/v1/${signal}`;
  return {
    url,
    timeoutMillis: plan.timeoutMs,
    compression: plan.gzip ? CompressionAlgorithm.GZIP : CompressionAlgorithm.NONE,
  };
}

async function sendTraces(plan, resource, results) {
  const Exporter = { 'http-proto': ProtoTraces, 'http-json': JsonTraces, grpc: GrpcTraces }[plan.transport];
  const processor = new BatchSpanProcessor(noted(new Exporter(options(plan, 'traces')), results), {
    maxExportBatchSize: BATCH,
    maxQueueSize: 2 * plan.spans,
    exportTimeoutMillis: plan.timeoutMs,
  });
  const provider = new BasicTracerProvider({ resource, spanProcessors: [processor] });
  const tracer = provider.getTracer('test');
  for (let number = 0; number < plan.spans; number += 1) {
    const failed = number % 4 === 0;
    const span = tracer.startSpan(plan.names ? `${plan.service} ${number}` : 'POST /v1/transfers', {
      kind: SpanKind.SERVER,
      startTime: plan.endMs - 50,
      attributes: {
        'http.request.method': 'POST',
        'http.route': '/v1/transfers',
        'http.response.status_code': failed ? 500 : 202,
      },
    });
    if (failed) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end(plan.endMs);
  }
  await provider.forceFlush().catch(() => {}); // how each export ended is noted
  await provider.shutdown();
}

async function sendMetrics(plan, resource, results) {
  const Exporter = plan.transport === 'grpc' ? GrpcMetrics : ProtoMetrics;
  const reader = new PeriodicExportingMetricReader({
    exporter: noted(new Exporter(options(plan, 'metrics')), results),
    exportIntervalMillis: 600_000,
    exportTimeoutMillis: plan.timeoutMs,
  });
  const provider = new MeterProvider({ resource, readers: [reader] });
  const meter = provider.getMeter('test');
  meter.createObservableGauge('queue.depth').addCallback((observer) => observer.observe(7));
  meter.createCounter('jobs.done').add(3);
  await provider.forceFlush().catch(() => {}); // how each export ended is noted
  await provider.shutdown();
}

async function sendLogs(plan, resource, results) {
  const Exporter = plan.transport === 'grpc' ? GrpcLogs : ProtoLogs;
  const exporter = noted(new Exporter(options(plan, 'logs')), results);
  const processor = new BatchLogRecordProcessor({ exporter, exportTimeoutMillis: plan.timeoutMs });
  const provider = new LoggerProvider({ resource, processors: [processor] });
  const logger = provider.getLogger('test');
  for (let number = 0; number < 20; number += 1) {
    logger.emit({
      timestamp: plan.endMs,
      severityNumber: SeverityNumber.ERROR,
      body: `transfer ${number} failed`,
    });
  }
  await provider.forceFlush().catch(() => {}); // how each export ended is noted
  await provider.shutdown();
}

const SEND = { traces: sendTraces, metrics: sendMetrics, logs: sendLogs };
const { plans } = JSON.parse(process.argv[2]);
const outcomes = await Promise.all(
  plans.map(async (plan) => {
    const resource = resourceFromAttributes({ 'service.name': plan.service });
    const outcome = {};
    for (const signal of plan.signals) {
      outcome[signal] = [];
      await SEND[signal](plan, resource, outcome[signal]);
    }
    return outcome;
  }),
);
console.log(JSON.stringify(outcomes));
