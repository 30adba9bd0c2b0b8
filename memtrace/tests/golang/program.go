// What tests/golang watches from outside: it does what it is told, a letter at a time, and says what Go itself says of its memory.
package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
)

const mib = 1 << 20

var (
	kept  [][]byte
	small []*[48]byte
	stats runtime.MemStats
	line  [512]byte
	quit  = make(chan bool)
	deep  = make(chan int)
)

// Uses so many KiB of stack, and stays there.
func dive(depth int) int {
	var frame [1024]byte
	frame[depth%1024] = byte(depth)
	if depth == 0 {
		deep <- 1
		<-quit
		return int(frame[7])
	}
	return dive(depth-1) + int(frame[depth%1024])
}

func say() {
	runtime.ReadMemStats(&stats)
	text := line[:0]
	for _, figure := range [...]uint64{
		stats.Sys, stats.HeapSys, stats.HeapAlloc, stats.HeapInuse, stats.HeapReleased, stats.HeapIdle,
		stats.StackInuse, uint64(stats.NumGC),
	} {
		text = strconv.AppendUint(text, figure, 10)
		text = append(text, ' ')
	}
	text = append(text, '\n')
	os.Stdout.Write(text)
}

func main() {
	var letter [1]byte
	for {
		if n, _ := os.Stdin.Read(letter[:]); n == 0 {
			return
		}
		switch letter[0] {
		case 's': // says
			say()
		case 'g': // grows by 200 MiB, in steps
			for step := 0; step < 100; step++ {
				block := make([]byte, 2*mib)
				for at := 0; at < len(block); at += 4096 {
					block[at] = 1
				}
				kept = append(kept, block)
			}
			os.Stdout.Write([]byte("\n"))
		case 'o': // grows by small objects
			for step := 0; step < 300000; step++ {
				small = append(small, new([48]byte))
			}
			os.Stdout.Write([]byte("\n"))
		case 'f': // frees all of it, and collects
			kept, small = nil, nil
			runtime.GC()
			os.Stdout.Write([]byte("\n"))
		case 'r': // gives back to the kernel
			debug.FreeOSMemory()
			os.Stdout.Write([]byte("\n"))
		case 'd': // 200 goroutines, deep in their stacks
			for number := 0; number < 200; number++ {
				go dive(100)
				<-deep
			}
			os.Stdout.Write([]byte("\n"))
		case 'c': // allocates and frees without end, on every processor
			for number := 0; number < runtime.GOMAXPROCS(0); number++ {
				go churn(number)
			}
			os.Stdout.Write([]byte("\n"))
		}
	}
}

var churned [64][]byte

func churn(number int) {
	for size := 1; ; size = size*7%1048573 + 1 {
		churned[number%64] = make([]byte, size)
		runtime.Gosched()
	}
}
