package tunnel

// The start of a session on a byte stream that cannot tell one session from the next: the agent sends a preamble (a mark and 8 random
// bytes) and throws away what comes until the runner has repeated those 8 bytes.
//
//	waiting ──echo──▶ found        waiting ──a whole flush──▶ new preamble, waiting

import (
	"crypto/rand"
	"encoding/binary"
	"errors"

	"portico.dev/agent/internal/proto"
)

const nonceLength = 8

// restOfFlush is the greatest part of a flush that arrives after a session that the flush has ended.
const restOfFlush = proto.RestOfFlush

var errNoEcho = errors.New("cannot start a session: no echo of the preamble")

// echoFinder looks for the 8 bytes. Made anew for each session.
type echoFinder struct {
	nonce     uint64
	last      uint64 // the 8 bytes that came last
	seen      int    // bytes since the preamble in force was sent
	run       int    // bytes of ff in a row
	onRestart func(nonce uint64)
}

func newNonce() uint64 {
	var b [nonceLength]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return binary.BigEndian.Uint64(b[:])
}

func appendPreamble(b []byte, nonce uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, proto.PreambleMark...), nonce)
}

// push takes what arrived and tells how many of its bytes belong to the start, up to the end of the echo.
func (f *echoFinder) push(chunk []byte) (used int, found bool, err error) {
	for i, b := range chunk {
		f.last = f.last<<8 | uint64(b)
		f.seen++
		if f.last == f.nonce && f.seen >= nonceLength {
			return i + 1, true, nil
		}
		if f.seen > proto.MaxDiscarded && f.seen-f.begun() > proto.MaxDiscarded {
			return i + 1, false, errNoEcho
		}
		if b != 0xff {
			f.run = 0
		} else if f.run++; f.run > restOfFlush {
			f.seen, f.run = 0, 0
			f.nonce = newNonce()
			f.onRestart(f.nonce)
		}
	}
	return len(chunk), false, nil
}

// begun tells how many of the last bytes may be the beginning of the echo: those are not yet thrown away.
func (f *echoFinder) begun() int {
	for n := nonceLength - 1; n > 0; n-- {
		if mask := uint64(1)<<(8*n) - 1; f.last&mask == f.nonce>>(8*(nonceLength-n)) {
			return n
		}
	}
	return 0
}
