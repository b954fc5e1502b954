package otlp

// message is a message of OTLP.
type message uint8

const (
	msgTraces message = iota
	msgLogs
	msgMetrics
	msgResourceSpans
	msgResourceLogs
	msgResourceMetrics
	msgResource
	msgScopeSpans
	msgScopeLogs
	msgScopeMetrics
	msgScope
	msgSpan
	msgEvent
	msgLink
	msgStatus
	msgRecord
	msgMetric
	msgNumbers
	msgHistogram
	msgExponential
	msgSummary
	msgNumberPoint
	msgHistogramPoint
	msgExponentialPoint
	msgSummaryPoint
	msgBuckets
	msgQuantile
	msgKeyValue
	msgAnyValue
	msgArray
	msgMap
	messages
)

func (s Signal) message() message { return message(s - Traces) }

// fieldType is how a field is written, in Protocol Buffers and in JSON.
type fieldType uint8

const (
	typeMessage fieldType = iota
	typeText
	typeID      // bytes: hexadecimal digits in JSON
	typeBytes   // bytes: Base64 in JSON
	typeBool    // varint
	typeInt32   // varint; number in JSON
	typeSint32  // varint, zigzag; number in JSON
	typeInt64   // varint, signed; text in JSON
	typeUint64  // varint; text in JSON
	typeFixed64 // unsigned; text in JSON
	typeSfixed  // signed; text in JSON
	typeDouble
)

type field struct {
	name     string
	num      int
	typ      fieldType
	repeated bool
	msg      message // of typeMessage
}

// schema holds the fields of OTLP that a Decoder reads, by message: what
// https://github.com/open-telemetry/opentelemetry-proto defines, in the spelling of OTLP/JSON.
type schema [messages][]field

func newSchema() *schema {
	one := func(name string, num int, m message) field { return field{name, num, typeMessage, false, m} }
	many := func(name string, num int, m message) field { return field{name, num, typeMessage, true, m} }
	plain := func(name string, num int, t fieldType) field { return field{name: name, num: num, typ: t} }
	packed := func(name string, num int, t fieldType) field { return field{name, num, t, true, 0} }
	attrs := func(num int) field { return many("attributes", num, msgKeyValue) }
	start, now := plain("startTimeUnixNano", 2, typeFixed64), plain("timeUnixNano", 3, typeFixed64)
	sum := plain("sum", 5, typeDouble)
	temporality := plain("aggregationTemporality", 2, typeInt32)
	return &schema{
		msgTraces:          {many("resourceSpans", 1, msgResourceSpans)},
		msgLogs:            {many("resourceLogs", 1, msgResourceLogs)},
		msgMetrics:         {many("resourceMetrics", 1, msgResourceMetrics)},
		msgResourceSpans:   {one("resource", 1, msgResource), many("scopeSpans", 2, msgScopeSpans)},
		msgResourceLogs:    {one("resource", 1, msgResource), many("scopeLogs", 2, msgScopeLogs)},
		msgResourceMetrics: {one("resource", 1, msgResource), many("scopeMetrics", 2, msgScopeMetrics)},
		msgResource:        {attrs(1)},
		msgScopeSpans:      {one("scope", 1, msgScope), many("spans", 2, msgSpan)},
		msgScopeLogs:       {one("scope", 1, msgScope), many("logRecords", 2, msgRecord)},
		msgScopeMetrics:    {one("scope", 1, msgScope), many("metrics", 2, msgMetric)},
		msgScope:           {plain("name", 1, typeText), plain("version", 2, typeText)},
		msgSpan: {
			plain("traceId", 1, typeID), plain("spanId", 2, typeID), plain("traceState", 3, typeText),
			plain("parentSpanId", 4, typeID), plain("name", 5, typeText), plain("kind", 6, typeInt32),
			plain("startTimeUnixNano", 7, typeFixed64), plain("endTimeUnixNano", 8, typeFixed64), attrs(9),
			many("events", 11, msgEvent), many("links", 13, msgLink), one("status", 15, msgStatus),
		},
		msgEvent:  {plain("timeUnixNano", 1, typeFixed64), plain("name", 2, typeText), attrs(3)},
		msgLink:   {plain("traceId", 1, typeID), plain("spanId", 2, typeID), attrs(4)},
		msgStatus: {plain("message", 2, typeText), plain("code", 3, typeInt32)},
		msgRecord: {
			plain("timeUnixNano", 1, typeFixed64), plain("observedTimeUnixNano", 11, typeFixed64),
			plain("severityNumber", 2, typeInt32), plain("severityText", 3, typeText), one("body", 5, msgAnyValue),
			attrs(6), plain("traceId", 9, typeID), plain("spanId", 10, typeID), plain("eventName", 12, typeText),
		},
		msgMetric: {
			plain("name", 1, typeText), plain("description", 2, typeText), plain("unit", 3, typeText),
			one("gauge", 5, msgNumbers), one("sum", 7, msgNumbers), one("histogram", 9, msgHistogram),
			one("exponentialHistogram", 10, msgExponential), one("summary", 11, msgSummary),
		},
		msgNumbers:     {many("dataPoints", 1, msgNumberPoint), temporality, plain("isMonotonic", 3, typeBool)},
		msgHistogram:   {many("dataPoints", 1, msgHistogramPoint), temporality},
		msgExponential: {many("dataPoints", 1, msgExponentialPoint), temporality},
		msgSummary:     {many("dataPoints", 1, msgSummaryPoint)},
		msgNumberPoint: {
			start, now, plain("asDouble", 4, typeDouble), plain("asInt", 6, typeSfixed), attrs(7),
			plain("flags", 8, typeInt32),
		},
		msgHistogramPoint: {
			start, now, plain("count", 4, typeFixed64), sum, packed("bucketCounts", 6, typeFixed64),
			packed("explicitBounds", 7, typeDouble), attrs(9), plain("flags", 10, typeInt32),
		},
		msgExponentialPoint: {
			attrs(1), start, now, plain("count", 4, typeFixed64), sum, plain("scale", 6, typeSint32),
			plain("zeroCount", 7, typeFixed64), one("positive", 8, msgBuckets), one("negative", 9, msgBuckets),
			plain("flags", 10, typeInt32), plain("zeroThreshold", 14, typeDouble),
		},
		msgSummaryPoint: {
			start, now, plain("count", 4, typeFixed64), sum, many("quantileValues", 6, msgQuantile), attrs(7),
			plain("flags", 8, typeInt32),
		},
		msgBuckets:  {plain("offset", 1, typeSint32), packed("bucketCounts", 2, typeUint64)},
		msgQuantile: {plain("quantile", 1, typeDouble), plain("value", 2, typeDouble)},
		msgKeyValue: {plain("key", 1, typeText), one("value", 2, msgAnyValue)},
		msgAnyValue: {
			plain("stringValue", 1, typeText), plain("boolValue", 2, typeBool), plain("intValue", 3, typeInt64),
			plain("doubleValue", 4, typeDouble), one("arrayValue", 5, msgArray), one("kvlistValue", 6, msgMap),
			plain("bytesValue", 7, typeBytes),
		},
		msgArray: {many("values", 1, msgAnyValue)},
		msgMap:   {many("values", 1, msgKeyValue)},
	}
}
