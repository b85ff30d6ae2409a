package files

// What the handlers of this package have in common: JSON that is written by hand where it may be long, and how a piece of work becomes one.

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"portico.dev/agent/internal/proto"
)

const (
	// piece is how much of a long answer is gathered before it is sent.
	piece      = 64 << 10
	maxRequest = 64 << 10
)

// done is the answer of what changes a path and has nothing more to say.
type done struct {
	OK         bool   `json:"ok"`
	Path       string `json:"path"`
	PathBase64 string `json:"path_base64,omitempty"`
}

func didTo(path string) done { return done{true, path, inBase64(path)} }

// answering makes a handler of work whose outcome is a value.
func answering(work func(*http.Request) (any, *proto.Failure)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, failure := work(r)
		if failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
		proto.Answer(w, value)
	}
}

// named is how a body names a path.
type named struct {
	Path       *string `json:"path"`
	PathBase64 *string `json:"path_base64"`
}

func (n *named) path() (string, *proto.Failure) { return pathOf(n.Path, n.PathBase64, "path") }

const moment = "2006-01-02T15:04:05.000Z"

func momentOf(t time.Time) string { return t.UTC().Format(moment) }

// appendNamed appends a field with a text, and one with its bytes in base64 where they are not UTF-8.
func appendNamed(out []byte, field string, text []byte) []byte {
	out = append(append(append(out, '"'), field...), `":`...)
	out = appendText(out, text)
	if !utf8.Valid(text) {
		out = append(append(append(out, `,"`...), field...), `_base64":"`...)
		out = append(base64.StdEncoding.AppendEncode(out, text), '"')
	}
	return out
}

// appendText appends bytes as a JSON string. What is not UTF-8 becomes U+FFFD.
func appendText(out, text []byte) []byte {
	out = append(out, '"')
	for len(text) > 0 {
		plain := 0
		for plain < len(text) && text[plain] >= ' ' && text[plain] < utf8.RuneSelf && text[plain] != '"' && text[plain] != '\\' {
			plain++
		}
		out = append(out, text[:plain]...)
		if text = text[plain:]; len(text) == 0 {
			break
		}
		if c := text[0]; c < utf8.RuneSelf {
			if c == '"' || c == '\\' {
				out = append(out, '\\', c)
			} else {
				const digits = "0123456789abcdef"
				out = append(out, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
			}
			text = text[1:]
			continue
		}
		char, size := utf8.DecodeRune(text)
		out = utf8.AppendRune(out, char)
		text = text[size:]
	}
	return append(out, '"')
}

// pieces gathers an answer and sends it on as it grows. One that stays within a piece tells its length.
type pieces struct {
	w    http.ResponseWriter
	out  []byte
	sent bool
}

func (p *pieces) begin() { p.w.Header()["Content-Type"] = []string{"application/json"} }

func (p *pieces) sendIfLong() error {
	if len(p.out) < piece {
		return nil
	}
	p.sent = true
	_, err := p.w.Write(p.out)
	p.out = p.out[:0]
	return err
}

func (p *pieces) finish() {
	if !p.sent {
		p.w.Header()["Content-Length"] = []string{strconv.Itoa(len(p.out))}
	}
	_, _ = p.w.Write(p.out)
}
