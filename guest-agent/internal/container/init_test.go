package container

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

func TestProgramThatIsStoppedHearsThatItShallEnd(t *testing.T) {
	script := "trap 'exit 7' TERM; kill -STOP $$; while :; do sleep 0.05; done"
	program, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = syscall.Kill(-program, syscall.SIGKILL) })
	defer late.Stop()
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(program, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatal(err, status)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, handed...)
	defer close(signals)
	defer signal.Stop(signals)
	go handOn(signals, program)
	for _, one := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := syscall.Kill(os.Getpid(), one); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := syscall.Wait4(program, &status, 0, nil); err != nil || status.ExitStatus() != 7 {
		t.Errorf("%v, ended with %d", err, status.ExitStatus())
	}
}
