package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	deviceLimit = 10 * time.Second
	deviceStep  = 2 * time.Millisecond
)

// awaitDisks finds block devices by their serial numbers. They appear while their driver probes, so all are waited for together.
func awaitDisks(serials ...string) (map[string]string, error) {
	deadline := time.Now().Add(deviceLimit)
	for {
		disks := disksBySerial("/sys/block")
		missing := ""
		for _, serial := range serials {
			if disks[serial] == "" {
				missing = serial
			}
		}
		if missing == "" {
			return disks, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("cannot find the disk %s: no device has this serial number", missing)
		}
		time.Sleep(deviceStep)
	}
}

// disksBySerial tells each disk's device file by its serial number.
func disksBySerial(class string) map[string]string {
	disks := map[string]string{}
	files, _ := filepath.Glob(class + "/*/serial")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && len(text) > 0 {
			disks[strings.TrimSpace(string(text))] = "/dev/" + filepath.Base(filepath.Dir(file))
		}
	}
	return disks
}
