package process

// The answer of exec, written by hand: output may be large, is any bytes, and goes out in pieces without ever being copied whole.

import (
	"net/http"
	"strconv"
	"syscall"
	"unicode/utf8"
)

const piece = 32 << 10

// answerWriter gathers JSON and sends it on in pieces. An answer that fits one piece gets a Content-Length.
type answerWriter struct {
	w      http.ResponseWriter
	buffer []byte
	sent   bool
}

func (r *outcome) writeTo(w http.ResponseWriter) {
	w.Header()["Content-Type"] = []string{"application/json"}
	a := &answerWriter{w: w, buffer: make([]byte, 0, 256+min(piece, len(r.stdout)+len(r.stderr)))}
	a.text(`{"exit_code":`)
	a.buffer = strconv.AppendInt(a.buffer, int64(r.exitCode), 10)
	a.text(`,"stdout":`)
	a.string(r.stdout)
	a.text(`,"stderr":`)
	a.string(r.stderr)
	a.text(`,"timed_out":`)
	a.buffer = strconv.AppendBool(a.buffer, r.timedOut)
	a.text(`,"duration_ms":`)
	a.buffer = strconv.AppendFloat(a.buffer, float64(r.duration.Microseconds())/1000, 'f', -1, 64)
	if r.signal != 0 {
		a.text(`,"signal":`)
		a.string([]byte(signalName(r.signal)))
	}
	a.text(`,"stdout_truncated":`)
	a.buffer = strconv.AppendBool(a.buffer, r.truncated[0])
	a.text(`,"stderr_truncated":`)
	a.buffer = strconv.AppendBool(a.buffer, r.truncated[1])
	a.text(`}`)
	a.finish()
}

func (a *answerWriter) text(s string) { a.buffer = append(a.buffer, s...) }

func (a *answerWriter) finish() {
	if !a.sent {
		a.w.Header()["Content-Length"] = []string{strconv.Itoa(len(a.buffer))}
	}
	_, _ = a.w.Write(a.buffer)
}

// string appends bytes as a JSON string. Each byte that is not part of UTF-8 becomes U+FFFD.
func (a *answerWriter) string(b []byte) {
	a.text(`"`)
	for len(b) > 0 {
		if len(a.buffer) >= piece {
			_, _ = a.w.Write(a.buffer)
			a.buffer, a.sent = a.buffer[:0], true
		}
		plain := 0
		for plain < min(len(b), piece) && b[plain] >= ' ' && b[plain] < utf8.RuneSelf && b[plain] != '"' && b[plain] != '\\' {
			plain++
		}
		if plain > 0 {
			a.buffer = append(a.buffer, b[:plain]...)
			b = b[plain:]
			continue
		}
		if b[0] < utf8.RuneSelf {
			a.escape(b[0])
			b = b[1:]
			continue
		}
		char, size := utf8.DecodeRune(b)
		a.buffer = utf8.AppendRune(a.buffer, char) // RuneError is U+FFFD
		b = b[size:]
	}
	a.text(`"`)
}

func (a *answerWriter) escape(b byte) {
	switch b {
	case '"', '\\':
		a.buffer = append(a.buffer, '\\', b)
	case '\n':
		a.text(`\n`)
	case '\r':
		a.text(`\r`)
	case '\t':
		a.text(`\t`)
	default:
		const digits = "0123456789abcdef"
		a.buffer = append(a.buffer, '\\', 'u', '0', '0', digits[b>>4], digits[b&15])
	}
}

// signalName is the name that people know, such as SIGKILL.
func signalName(signal syscall.Signal) string {
	if name, known := signalNames[signal]; known {
		return name
	}
	return "SIG" + strconv.Itoa(int(signal))
}

var signalNames = map[syscall.Signal]string{
	syscall.SIGABRT: "SIGABRT", syscall.SIGALRM: "SIGALRM", syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE",
	syscall.SIGCHLD: "SIGCHLD", syscall.SIGCONT: "SIGCONT", syscall.SIGSTOP: "SIGSTOP", syscall.SIGTSTP: "SIGTSTP", syscall.SIGTTIN: "SIGTTIN",
	syscall.SIGTTOU: "SIGTTOU", syscall.SIGURG: "SIGURG", syscall.SIGWINCH: "SIGWINCH",
	syscall.SIGHUP: "SIGHUP", syscall.SIGILL: "SIGILL", syscall.SIGINT: "SIGINT", syscall.SIGIO: "SIGIO",
	syscall.SIGKILL: "SIGKILL", syscall.SIGPIPE: "SIGPIPE", syscall.SIGPROF: "SIGPROF", syscall.SIGPWR: "SIGPWR",
	syscall.SIGQUIT: "SIGQUIT", syscall.SIGSEGV: "SIGSEGV", syscall.SIGSTKFLT: "SIGSTKFLT", syscall.SIGSYS: "SIGSYS",
	syscall.SIGTERM: "SIGTERM", syscall.SIGTRAP: "SIGTRAP", syscall.SIGUSR1: "SIGUSR1", syscall.SIGUSR2: "SIGUSR2",
	syscall.SIGVTALRM: "SIGVTALRM", syscall.SIGXCPU: "SIGXCPU", syscall.SIGXFSZ: "SIGXFSZ",
}
