package process

// The trace that a call belongs to: its header traceparent becomes TRACEPARENT of what it starts, unless the call's own environment names
// one. A header that is malformed is ignored.

import (
	"maps"
	"net/http"
	"strings"
)

const (
	traceHeader   = "Traceparent"
	traceVariable = "TRACEPARENT"
	// firstTrace is the length of a header of the first version; later ones may be longer.
	firstTrace = 55
	maxTrace   = 128
)

// traced is a call's environment with the trace of its header.
func traced(env map[string]string, header http.Header) map[string]string {
	trace := header.Get(traceHeader)
	if _, own := env[traceVariable]; own || !isTrace(trace) {
		return env
	}
	with := maps.Clone(env)
	if with == nil {
		with = make(map[string]string, 1)
	}
	with[traceVariable] = trace
	return with
}

// isTrace tells whether a text is version-trace-span-flags, as the W3C has it.
func isTrace(text string) bool {
	if len(text) < firstTrace || len(text) > maxTrace || strings.HasPrefix(text, "ff") {
		return false
	}
	if len(text) > firstTrace && (strings.HasPrefix(text, "00") || text[firstTrace] != '-') {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case i == 2 || i == 35 || i == 52:
			if c != '-' {
				return false
			}
		case i < firstTrace:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		case c < ' ' || c > '~':
			return false
		}
	}
	return strings.Trim(text[3:35], "0") != "" && strings.Trim(text[36:52], "0") != ""
}
