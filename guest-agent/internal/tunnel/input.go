package tunnel

import "sync"

const readBuffer = 1 << 20

var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// input is what a carrier has brought and nobody has taken yet. It outlives the session that starts on the carrier, if a former one goes on.
type input struct {
	carrier  Carrier
	array    *[readBuffer]byte
	from, to int
}

func newInput(carrier Carrier) *input {
	return &input{carrier: carrier, array: readBuffers.Get().(*[readBuffer]byte)}
}

func (i *input) close() {
	readBuffers.Put(i.array)
	i.array = nil
}

func (i *input) bytes() []byte { return i.array[i.from:i.to] }

// skip notes that so many of the bytes were taken.
func (i *input) skip(n int) { i.from += n }

// fill waits for more.
func (i *input) fill() error {
	if i.from == i.to {
		i.from, i.to = 0, 0
	} else if readBuffer-i.to < readBuffer/4 {
		i.from, i.to = 0, copy(i.array[:], i.array[i.from:i.to])
	}
	n, err := i.carrier.Read(i.array[i.to:])
	i.to += n
	return err
}
