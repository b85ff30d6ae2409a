package proto

// How a request fails: a code of the error table and one line that reads "cannot X: why". Nothing else of an error leaves the agent.

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Failure is an error with a code of the table. Its text is fit for a user.
type Failure struct {
	Code    string
	Message string
}

func (f *Failure) Error() string { return f.Message }

// Fail makes a Failure.
func Fail(code, format string, arguments ...any) *Failure {
	return &Failure{code, fmt.Sprintf(format, arguments...)}
}

// FailureOf tells any error as a Failure: itself, or the platform's answer by its number, never by its text. The message begins with what
// could not be done.
func FailureOf(err error, what string) *Failure {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	var number syscall.Errno
	if !errors.As(err, &number) {
		return Fail(CodeInternal, "%s: %s", what, err)
	}
	return Fail(codeOf(number), "%s: %s", what, number.Error())
}

func codeOf(number syscall.Errno) string {
	switch number {
	case syscall.EEXIST, syscall.ENOTEMPTY, syscall.EBUSY, syscall.EMLINK, syscall.ENXIO:
		return CodeConflict
	case syscall.EOPNOTSUPP, syscall.ENOSYS:
		return CodeUnsupported
	case syscall.ENOENT:
		return CodeFileNotFound
	case syscall.EISDIR:
		return CodeIsDirectory
	case syscall.ENOTDIR:
		return CodeNotDirectory
	case syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ETXTBSY:
		return CodePermissionDenied
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
		return CodeNoSpace
	case syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EINVAL, syscall.EXDEV:
		return CodeInvalidPath
	case syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE:
		return CodeOverloaded
	}
	return CodeInternal
}

func oneLine(text string) string {
	line := strings.Join(strings.Fields(text), " ")
	if runes := []rune(line); len(runes) > maxMessage {
		return string(runes[:maxMessage-1]) + "…"
	}
	return line
}

const maxMessage = 500
