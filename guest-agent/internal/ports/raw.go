package ports

import (
	"io"
	"net"
	"net/http"

	"portico.dev/agent/internal/http1"
	"portico.dev/agent/internal/proto"
)

// protocol is what a request asks for to have the connection's bytes as they are, without HTTP around them.
const protocol = "portico-tcp"

// forwardRaw joins the connection and the stream until both directions of both have ended.
//
//	conn's end ──▶ END, while the caller may still send      END ──▶ conn's end, while the server may still answer
//	conn broken ──▶ RESET                                    RESET, session lost ──▶ conn broken
func forwardRaw(w http.ResponseWriter, r *http.Request, conn *net.TCPConn) {
	raw, ok := http1.Switch(w, r, protocol)
	if !ok {
		return
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		upload(conn, raw)
	}()
	if err := download(raw, conn); err != nil {
		raw.Reset(proto.Fail(proto.CodeGuestError, "cannot go on with the connection: the server in the sandbox broke it off"))
	} else {
		_ = raw.CloseWrite()
	}
	<-over
}

// upload passes the caller's bytes on, then their end, and stays for as long as the caller does.
func upload(conn *net.TCPConn, raw http1.Raw) {
	piece := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(piece)
	for {
		n, err := raw.Read(piece[:])
		if n > 0 {
			// A server that takes no more may have answered: what it said is read to its end first.
			if _, refused := conn.Write(piece[:n]); refused != nil {
				return
			}
		}
		if err == io.EOF {
			_ = conn.CloseWrite()
			err = raw.Over()
		} else if err == nil {
			continue
		}
		if err != nil {
			_ = conn.SetLinger(0)
			_ = conn.Close()
		}
		return
	}
}

// download sends what comes as soon as it comes; nil at the connection's end.
func download(raw io.Writer, conn *net.TCPConn) error {
	piece := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(piece)
	for {
		n, err := conn.Read(piece[:])
		if n > 0 {
			if _, fault := raw.Write(piece[:n]); fault != nil {
				return fault
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
