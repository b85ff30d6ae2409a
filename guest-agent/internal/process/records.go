package process

// Output as it crosses to whoever follows a process, and input as it comes from there: records, each with a head in front.
//
//	output   kind u8 · offset u64 · length u32 · bytes        0 nothing new   1 stdout   2 stderr   3 the end, as JSON   4 gap: so many bytes, as u64   5 mark of a shell, as JSON
//	input    kind u8 · length u32 · bytes                     0 data   1 end   2 size, as JSON   3 signal, by name
//
// Numbers are big-endian. An offset is that of the first byte behind it, so what follows a record is asked for with offset + length.

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

const (
	recordNothing byte = 0
	recordEnd     byte = 3
	recordGap     byte = 4

	inputData   byte = 0
	inputEnd    byte = 1
	inputSize   byte = 2
	inputSignal byte = 3

	outputHead = 13
	inputHead  = 5
	maxInput   = 1 << 20

	// silence is how long a follower hears nothing before it gets a record that says so.
	silence = 15 * time.Second
)

// follow sends the process's output from an offset on, until its end or until the caller goes away; false if the caller did.
func (k *kept) follow(w http.ResponseWriter, from int64, holds bool, gone <-chan struct{}) bool {
	return follow(w, &followed{log: k.log, id: k.id, from: from, holds: holds, until: -1, gone: gone, ending: func() *ended {
		<-k.done
		return k.ending()
	}})
}

// followed is what a follower asked for.
type followed struct {
	log   *outputLog
	id    string
	from  int64
	holds bool
	until int64 // the end is told once the output up to here was; negative: once all was
	gone  <-chan struct{}
	// ending is what the end says.
	ending func() *ended
}

func follow(w http.ResponseWriter, f *followed) bool {
	reader := f.log.reader(f.from, f.holds)
	defer reader.close()
	over := make(chan struct{})
	defer close(over)
	go func() {
		tick := time.NewTicker(silence)
		defer tick.Stop()
		for {
			select {
			case <-f.gone:
				reader.call()
				return
			case <-tick.C:
				reader.call()
			case <-over:
				return
			}
		}
	}()
	w.Header()["Content-Type"] = []string{"application/octet-stream"}
	w.Header().Set("Portico-Process", f.id)
	if http.NewResponseController(w).Flush() != nil {
		return false
	}
	record := make([]byte, outputHead, outputHead+chunkSize)
	sendEnd := func() bool {
		end, _ := json.Marshal(f.ending())
		return sendRecord(w, record[:outputHead], recordEnd, reader.at, end)
	}
	for {
		if f.until >= 0 && reader.at >= f.until {
			return sendEnd()
		}
		kind, bytes, lost, ended := reader.next(record[outputHead : outputHead+chunkSize])
		if lost > 0 && !sendRecord(w, make([]byte, outputHead), recordGap, reader.at-int64(len(bytes)), binary.BigEndian.AppendUint64(nil, uint64(lost))) {
			return false
		}
		switch {
		case ended:
			return sendEnd()
		case len(bytes) > 0:
			if !sendRecord(w, record[:outputHead], byte(kind), reader.at-int64(len(bytes)), bytes) {
				return false
			}
		case lost == 0 && !sendRecord(w, record[:outputHead], recordNothing, reader.at, nil):
			return false
		}
		select {
		case <-f.gone:
			return false
		default:
		}
	}
}

func sendRecord(w http.ResponseWriter, head []byte, kind byte, at int64, payload []byte) bool {
	head[0] = kind
	binary.BigEndian.PutUint64(head[1:], uint64(at))
	binary.BigEndian.PutUint32(head[9:], uint32(len(payload)))
	if _, err := w.Write(append(head, payload...)); err != nil {
		return false
	}
	return http.NewResponseController(w).Flush() == nil
}

type ended struct {
	ExitCode   int     `json:"exit_code"`
	Signal     string  `json:"signal,omitempty"`
	TimedOut   bool    `json:"timed_out"`
	DurationMs float64 `json:"duration_ms"`
}

// ending tells how it ended. Valid once done is closed.
func (k *kept) ending() *ended {
	e := &ended{ExitCode: k.exitCode, TimedOut: k.timedOut.Load(), DurationMs: float64(k.duration.Microseconds()) / 1000}
	if k.signal != 0 && !e.TimedOut {
		e.Signal = signalName(k.signal)
	}
	return e
}

// feed takes input records until their end. What it cannot do it skips: the one who follows sees what the process makes of it.
func (k *kept) feed(from io.Reader) {
	head := make([]byte, inputHead)
	for {
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		length := binary.BigEndian.Uint32(head[1:])
		if length > maxInput {
			return
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(from, payload); err != nil {
			return
		}
		switch head[0] {
		case inputData:
			if k.input.write(-1, payload) != nil {
				continue
			}
		case inputEnd:
			k.input.end()
		case inputSize:
			var wanted size
			if json.Unmarshal(payload, &wanted) == nil && wanted.check() == nil && k.tty != nil {
				_ = resize(k.tty, wanted)
			}
		case inputSignal:
			if signal, failure := findSignal(string(payload)); failure == nil {
				k.sendSignal(signal)
			}
		}
	}
}
