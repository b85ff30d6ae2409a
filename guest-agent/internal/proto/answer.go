package proto

// Requests and answers over HTTP: JSON bodies in and out, and errors as {"error":{"code","message"}} with the status of the table.

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// Answer sends a value as JSON.
func Answer(w http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		AnswerFailure(w, Fail(CodeInternal, "cannot answer: %s", err))
		return
	}
	answerBytes(w, http.StatusOK, body)
}

// AnswerFailure sends an error.
func AnswerFailure(w http.ResponseWriter, failure *Failure) {
	status, known := Status[failure.Code]
	code := failure.Code
	if !known {
		status, code = http.StatusInternalServerError, CodeInternal
	}
	body, err := json.Marshal(map[string]WireError{"error": {code, oneLine(failure.Message)}})
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"cannot tell the error"}}`)
	}
	answerBytes(w, status, body)
}

func answerBytes(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header["Content-Type"] = jsonType
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

var jsonType = []string{"application/json"}

// ReadJSON reads a request's body, of at most limit bytes, into a value. Unknown fields are ignored.
func ReadJSON(r *http.Request, limit int64, value any) *Failure {
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return Fail(CodeInvalidRequest, "cannot read the request: its body was cut off")
	}
	if int64(len(body)) > limit {
		return Fail(CodePayloadTooLarge, "cannot read the request: its body is over %d bytes", limit)
	}
	if err := json.Unmarshal(body, value); err != nil {
		var shape *json.UnmarshalTypeError
		if errors.As(err, &shape) && shape.Field != "" {
			return Fail(CodeInvalidRequest, "cannot read the request: %s must not be a %s", shape.Field, shape.Value)
		}
		return Fail(CodeInvalidJson, "cannot read the request: its body is not one JSON object")
	}
	return nil
}
