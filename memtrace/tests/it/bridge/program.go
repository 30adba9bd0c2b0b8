// Stands still in the state that its first argument names, and prints what Go says of itself.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

const mib = 1 << 20

var kept [][]byte

func fill(blocks int, touch bool) {
	for i := 0; i < blocks; i++ {
		block := make([]byte, mib)
		if touch {
			for at := 0; at < len(block); at += 512 {
				block[at] = 1
			}
		}
		kept = append(kept, block)
	}
}

func main() {
	state := os.Args[1]
	switch state {
	case "full":
		fill(200, true)
	case "half":
		fill(200, true)
		for i := range kept {
			if i%2 == 0 {
				kept[i] = nil
			}
		}
		runtime.GC()
	case "freed":
		fill(300, true)
		kept = nil
		debug.FreeOSMemory()
	case "untouched":
		fill(50, true)
		kept = append(kept, make([]byte, 300*mib))
	case "stacks":
		stop := make(chan int)
		for i := 0; i < 3000; i++ {
			go func() { deep(8, stop) }()
		}
		time.Sleep(300 * time.Millisecond)
	case "small":
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println(stats.Sys, stats.HeapSys, stats.HeapInuse, stats.HeapIdle, stats.HeapReleased, stats.StackInuse)
	fmt.Scanln()
	runtime.KeepAlive(kept)
}

func deep(depth int, stop chan int) byte {
	var frame [2048]byte
	frame[depth] = byte(depth)
	if depth == 0 {
		<-stop
		return frame[0]
	}
	return deep(depth-1, stop) + frame[depth]
}
