package boot

import (
	"syscall"
	"unsafe"
)

// bringUp sets a network interface up.
func bringUp(name string) error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(socket) }()
	var request struct { // struct ifreq
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], name)
	for _, call := range []uintptr{syscall.SIOCGIFFLAGS, syscall.SIOCSIFFLAGS} {
		if _, _, number := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), call, uintptr(unsafe.Pointer(&request))); number != 0 {
			return number
		}
		request.flags |= syscall.IFF_UP
	}
	return nil
}
