package boot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"
)

const (
	moduleFolder = "/lib/modules"
	// diskModule is the driver of disks.
	diskModule = "virtio_blk.ko"
)

// loadModules loads what the list names and is still there, in its order, but for one, and removes each file: the memory is the guest's from
// then on.
func loadModules(folder, but string) error {
	list, err := os.ReadFile(filepath.Join(folder, "load-order"))
	if err != nil {
		return fmt.Errorf("cannot read the list of modules: %w", err)
	}
	for _, name := range strings.Fields(string(list)) {
		path := filepath.Join(folder, name)
		if _, err := os.Stat(path); name == but || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := loadModule(path); err != nil {
			return fmt.Errorf("cannot load the module %s: %w", name, err)
		}
		_ = os.Remove(path)
	}
	return nil
}

func loadModule(path string) error {
	const finitModule = 313
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := cutSignature(file); err != nil {
		return err
	}
	_ = file.Close() // the kernel loads no file that is open for writing
	if file, err = os.Open(path); err != nil {
		return err
	}
	parameters := [1]byte{}
	_, _, number := syscall.Syscall(finitModule, file.Fd(), uintptr(unsafe.Pointer(&parameters)), 0)
	if number != 0 && !errors.Is(number, syscall.EEXIST) {
		return number
	}
	return nil
}

const (
	signatureMark    = "~Module signature appended~\n"
	signatureTrailer = 12 // struct module_signature: its last four bytes are the signature's length
)

// cutSignature takes the signature off a module. The initramfs is as trusted as the kernel that came with it, and to check a signature
// costs an emulated processor more than to load the module.
func cutSignature(file *os.File) error {
	status, err := file.Stat()
	if err != nil {
		return err
	}
	tail := make([]byte, signatureTrailer+len(signatureMark))
	at := status.Size() - int64(len(tail))
	if at < 0 {
		return nil
	}
	if _, err := file.ReadAt(tail, at); err != nil {
		return err
	}
	length := int64(binary.BigEndian.Uint32(tail[signatureTrailer-4:]))
	if string(tail[signatureTrailer:]) != signatureMark || length > at {
		return nil
	}
	return file.Truncate(at - length)
}
