//! One `IORING_OP_MADVISE`, with bare system calls: no system-call event of the process's own tells of it.

use std::ptr;

const IORING_OFF_SQ_RING: i64 = 0;
const IORING_OFF_CQ_RING: i64 = 0x800_0000;
const IORING_OFF_SQES: i64 = 0x1000_0000;
const IORING_ENTER_GETEVENTS: u32 = 1;
/// `IORING_OP_MADVISE`, `include/uapi/linux/io_uring.h`.
const IORING_OP_MADVISE: u8 = 25;

#[repr(C)]
#[derive(Default)]
struct SqOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    resv1: u32,
    user_addr: u64,
}

#[repr(C)]
#[derive(Default)]
struct CqOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    overflow: u32,
    cqes: u32,
    flags: u32,
    resv1: u32,
    user_addr: u64,
}

#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    sq_off: SqOffsets,
    cq_off: CqOffsets,
}

/// Gives advice through a ring; the completion's result.
pub fn madvise(base: *mut u8, bytes: usize, advice: u32) -> i64 {
    let mut params = Params::default();
    // SAFETY: the kernel fills `params`; the rings are mapped with the sizes that it names, and used by this thread alone.
    unsafe {
        let ring = libc::syscall(libc::SYS_io_uring_setup, 2, &raw mut params);
        if ring < 0 {
            return -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
        }
        let ring = ring as i32;
        let map = |bytes: usize, offset: i64| {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                ring,
                offset,
            )
            .cast::<u8>()
        };
        let sq_bytes = params.sq_off.array as usize + params.sq_entries as usize * 4;
        let cq_bytes = params.cq_off.cqes as usize + params.cq_entries as usize * 16;
        let sqe_bytes = params.sq_entries as usize * 64;
        let sq = map(sq_bytes, IORING_OFF_SQ_RING);
        let cq = map(cq_bytes, IORING_OFF_CQ_RING);
        let sqes = map(sqe_bytes, IORING_OFF_SQES);
        ptr::write_bytes(sqes, 0, 64);
        sqes.write(IORING_OP_MADVISE);
        sqes.add(4).cast::<i32>().write(-1);
        sqes.add(16).cast::<u64>().write(base as u64);
        sqes.add(24).cast::<u32>().write(bytes as u32);
        sqes.add(28).cast::<u32>().write(advice);
        sq.add(params.sq_off.array as usize).cast::<u32>().write(0);
        let tail = sq.add(params.sq_off.tail as usize).cast::<u32>();
        tail.write_volatile(tail.read_volatile() + 1);
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring,
            1,
            1,
            IORING_ENTER_GETEVENTS,
            ptr::null::<u8>(),
            0,
        );
        let result = cq
            .add(params.cq_off.cqes as usize + 8)
            .cast::<i32>()
            .read_volatile();
        libc::munmap(sq.cast(), sq_bytes);
        libc::munmap(cq.cast(), cq_bytes);
        libc::munmap(sqes.cast(), sqe_bytes);
        libc::close(ring);
        i64::from(result)
    }
}
