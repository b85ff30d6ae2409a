package services

import (
	"context"
	"net"
	"strconv"
	"time"
)

const (
	firstProbe = 20 * time.Millisecond
	slowProbe  = 250 * time.Millisecond
	probeLimit = time.Second
)

// loopbacks are where a service may listen for those in the sandbox.
var loopbacks = [2]string{"127.0.0.1", "::1"}

// awaitPort returns once the port takes a connection on loopback, or when the context ends; it tells which.
func awaitPort(over context.Context, port int) bool {
	dialer := net.Dialer{Timeout: probeLimit}
	for step := firstProbe; ; step = min(step*3/2, slowProbe) {
		for _, host := range loopbacks {
			conn, err := dialer.DialContext(over, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			if err == nil {
				_ = conn.Close()
				return true
			}
		}
		select {
		case <-over.Done():
			return false
		case <-time.After(step):
		}
	}
}
