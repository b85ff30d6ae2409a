package main

// How Go's scheduler behaves on a small and perhaps emulated machine, where each switch of threads costs as much as a system call.

import (
	"os"
	"runtime"
	"strconv"
)

const (
	// processors is how many run the agent's goroutines at once. One leaves the rest to the guest's programs and spares the agent's threads
	// from waking each other.
	processors = 1
	// monitorSlack is how many nanoseconds late the monitor thread may wake. It asks to be woken every 20 µs while anything runs; taken at
	// its word it costs more than all the rest of a short request. It must come in time all the same: it frees the processor of a goroutine
	// that waits in the kernel.
	monitorSlack = "500000"
)

func tuneScheduler() {
	runtime.GOMAXPROCS(processors)
	if thread := monitorThread("/proc/self/task"); thread > 0 {
		_ = os.WriteFile("/proc/"+strconv.Itoa(thread)+"/timerslack_ns", []byte(monitorSlack), 0)
	}
}

// monitorThread tells the number of the thread that the runtime starts first; 0 if there is none. Threads that it starts inherit its slack;
// processes do not, as the reaper sees to that.
func monitorThread(folder string) int {
	threads, err := os.ReadDir(folder)
	if err != nil {
		return 0
	}
	first := 0
	for _, entry := range threads {
		thread, err := strconv.Atoi(entry.Name())
		if err == nil && thread > os.Getpid() && (first == 0 || thread < first) {
			first = thread
		}
	}
	return first
}
