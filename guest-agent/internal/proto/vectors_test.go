package proto

// The golden table of shared/vectors, which the TypeScript side reads too, in any chunking; and bytes that nobody wrote.

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"portico.dev/agent/internal/proto/vectors"
)

// decoder gathers chunks as a session's reader does.
type decoder struct {
	pending []byte
	frames  []Frame
}

func (d *decoder) push(chunk []byte) error {
	d.pending = append(d.pending, chunk...)
	for {
		frame, n, err := ReadFrame(d.pending)
		if err != nil || n == 0 {
			return err
		}
		if frame.Type < FirstExtension {
			frame.Payload = bytes.Clone(frame.Payload)
			d.frames = append(d.frames, frame)
		}
		d.pending = d.pending[n:]
	}
}

func decodeChunks(chunks [][]byte) (*decoder, error) {
	d := &decoder{}
	for _, chunk := range chunks {
		if err := d.push(chunk); err != nil {
			return d, err
		}
	}
	return d, nil
}

func randomChunks(b []byte, most int) [][]byte {
	var chunks [][]byte
	for len(b) > 0 {
		n := min(len(b), 1+rand.IntN(most))
		chunks = append(chunks, b[:n])
		b = b[n:]
	}
	return chunks
}

func TestVectorsDecodeTheSameInAnyChunking(t *testing.T) {
	for _, vector := range vectors.Load(t).Frames {
		raw := vectors.Bytes(t, vector.Hex)
		for _, most := range []int{len(raw) + 1, 1 << 14, 9, 2, 1} {
			if most < 9 && len(raw) > 1<<17 {
				continue
			}
			d, err := decodeChunks(randomChunks(raw, most))
			if err != nil {
				t.Fatalf("%s: %v", vector.Name, err)
			}
			if len(d.pending) != 0 || len(d.frames) != len(vector.Frames) {
				t.Fatalf("%s: %d frames and %d bytes over, want %d frames", vector.Name, len(d.frames), len(d.pending), len(vector.Frames))
			}
			for i, want := range vector.Frames {
				checkFrame(t, vector.Name, d.frames[i], want)
			}
		}
	}
}

func checkFrame(t *testing.T, name string, got Frame, want vectors.Frame) {
	t.Helper()
	if int(got.Type) != want.Type || got.Stream != want.Stream {
		t.Errorf("%s: type %d stream %d, want %d and %d", name, got.Type, got.Stream, want.Type, want.Stream)
	}
	if want.JSON == nil {
		if !bytes.Equal(got.Payload, vectors.Bytes(t, want.PayloadHex)) {
			t.Errorf("%s: another payload", name)
		}
		return
	}
	var is, should any
	if err := errors.Join(json.Unmarshal(got.Payload, &is), json.Unmarshal(want.JSON, &should)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !reflect.DeepEqual(is, should) {
		t.Errorf("%s: %v, want %v", name, is, should)
	}
}

func TestVectorsEncodeToTheSameBytes(t *testing.T) {
	for _, vector := range vectors.Load(t).Frames {
		raw := vectors.Bytes(t, vector.Hex)
		var again []byte
		extensions := false
		for rest := raw; len(rest) > 0; {
			frame, n, err := ReadFrame(rest)
			if err != nil {
				t.Fatal(err)
			}
			extensions = extensions || frame.Type >= FirstExtension
			again = AppendFrame(again, frame.Type, frame.Stream, frame.Payload)
			rest = rest[n:]
		}
		if !bytes.Equal(again, raw) {
			t.Errorf("%s: encodes to other bytes", vector.Name)
		}
	}
}

func TestBadVectorsAreRefusedWithoutTheirPayload(t *testing.T) {
	for _, vector := range vectors.Load(t).Bad {
		raw := vectors.Bytes(t, vector.Hex)
		for _, most := range []int{len(raw) + 1, 3, 1} {
			_, err := decodeChunks(randomChunks(raw, most))
			var fault *FrameError
			if !errors.As(err, &fault) || string(fault.Fault) != vector.Error {
				t.Errorf("%s: %v, want %s", vector.Name, err, vector.Error)
			}
		}
	}
}

func TestHellos(t *testing.T) {
	for _, vector := range vectors.Load(t).Hellos {
		if _, err := ReadHello([]byte(vector.Text)); (err == nil) != vector.Ok {
			t.Errorf("%s: %v", vector.Name, err)
		}
	}
	frame, _, err := ReadFrame(AppendHello(nil, DefaultWindow, strings.Repeat("0f", MarkLength)))
	if err != nil {
		t.Fatal(err)
	}
	hello, err := ReadHello(frame.Payload)
	if want := (Hello{Generation, "agent", DefaultWindow, ""}); err != nil || hello != want {
		t.Errorf("own hello reads as %v, %v", hello, err)
	}
}

func TestWireErrors(t *testing.T) {
	for _, vector := range vectors.Load(t).WireErrors {
		got, err := ReadError([]byte(vector.Text))
		if vector.Error != "" {
			if err == nil {
				t.Errorf("%s: taken", vector.Name)
			}
			continue
		}
		if want := (WireError{vector.Code, vector.Message}); err != nil || got != want {
			t.Errorf("%s: %v, %v", vector.Name, got, err)
		}
	}
}

func TestErrorThatDoesNotFitIsCut(t *testing.T) {
	long := WireError{CodeInternal, string(bytes.Repeat([]byte("é"), 4000))}
	frame, _, err := ReadFrame(AppendError(nil, TypeReset, 1, long))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadError(frame.Payload); err != nil || got.Code != CodeInternal || len(got.Message) < 400 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRandomBytesEndInAnErrorOrWaitForMore(t *testing.T) {
	for range 20_000 {
		raw := make([]byte, rand.IntN(64))
		for i := range raw {
			raw[i] = byte(rand.Uint32())
		}
		if len(raw) > 0 && rand.IntN(2) == 0 {
			raw[0] &= 0x0f // more often a known type
		}
		d, err := decodeChunks(randomChunks(raw, 7))
		if err == nil && len(d.pending) >= HeaderLength+MaxData {
			t.Fatalf("waits for more than a frame: %x", raw)
		}
	}
}

// FuzzReadFrame: go test -fuzz ReadFrame ./internal/proto
func FuzzReadFrame(f *testing.F) {
	for _, vector := range vectors.Load(f).Frames {
		if raw := vectors.Bytes(f, vector.Hex); len(raw) < 4096 {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		frame, n, err := ReadFrame(raw)
		if err == nil && n > 0 && !bytes.Equal(AppendFrame(nil, frame.Type, frame.Stream, frame.Payload), raw[:n]) {
			t.Errorf("frame encodes to other bytes")
		}
	})
}
