package process

// Pseudo-terminals: the agent holds the master, the program gets the other end as its controlling terminal.

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

const (
	getTerminalNumber = 0x80045430 // TIOCGPTN
	lockTerminal      = 0x40045431 // TIOCSPTLCK
	setWindowSize     = 0x5414     // TIOCSWINSZ
)

// size of a terminal, in characters.
type size struct {
	Cols uint16 `json:"cols"`
	Rows uint16 `json:"rows"`
}

var usualSize = size{Cols: 80, Rows: 24}

// openTerminal makes a terminal. theirs is the program's end, which the caller closes once the program has it.
func openTerminal(s size) (master *os.File, theirs int, err error) {
	fd, err := syscall.Open("/dev/ptmx", syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, -1, err
	}
	master = os.NewFile(uintptr(fd), "terminal")
	var number, unlocked int32
	if err = control(fd, getTerminalNumber, unsafe.Pointer(&number)); err == nil {
		err = control(fd, lockTerminal, unsafe.Pointer(&unlocked))
	}
	if err == nil {
		theirs, err = syscall.Open(fmt.Sprintf("/dev/pts/%d", number), syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	}
	if err == nil {
		if err = resize(master, s); err == nil {
			return master, theirs, nil
		}
		_ = syscall.Close(theirs)
	}
	_ = master.Close()
	return nil, -1, err
}

// resize tells the terminal's size to the programs on it.
func resize(master *os.File, s size) error {
	window := struct{ rows, cols, x, y uint16 }{s.Rows, s.Cols, 0, 0}
	raw, err := master.SyscallConn()
	if err != nil {
		return err
	}
	var fault error
	if err := raw.Control(func(fd uintptr) { fault = control(int(fd), setWindowSize, unsafe.Pointer(&window)) }); err != nil {
		return err
	}
	return fault
}

func control(fd int, request uintptr, argument unsafe.Pointer) error {
	if _, _, number := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(argument)); number != 0 {
		return number
	}
	return nil
}
