// Package process runs commands for callers: POST /exec of docs/protocol.md.
package process

import (
	"errors"
	"net/http"
	"runtime/debug"

	"portico.dev/agent/internal/proto"
)

// largeOutput is from where on the memory of an answer is given back to the machine at once.
const largeOutput = 1 << 20

// Exec is the handler of POST /exec. gone tells when a request's caller has left; the end of the request's body is no such thing.
func (r *Runner) Exec(gone func(*http.Request) <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		var wire wireRequest
		if failure := proto.ReadJSON(request, maxRequest, &wire); failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
		wire.Env = traced(wire.Env, request.Header)
		user, failure := r.environment.complete(&wire)
		if failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
		c, failure := wire.check()
		if failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
		if c.user == nil {
			c.user = user
		}
		result, err := r.run(c, gone(request))
		switch {
		case errors.Is(err, errCallerGone):
			panic(http.ErrAbortHandler)
		case err != nil:
			proto.AnswerFailure(w, proto.FailureOf(err, "cannot run the command"))
		default:
			result.writeTo(w)
			if len(result.stdout)+len(result.stderr) > largeOutput {
				go debug.FreeOSMemory() // the guest's programs need it more
			}
		}
	}
}
