// System calls on memory: brk, mmap and what belongs to it.
#include <asm/mman.h>
#include <linux/mman.h>

#include <cstring>

#include "guest/kernel/address_space.hpp"
#include "guest/kernel/control.hpp"
#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

constexpr std::uint64_t kZeroDevice = 1 << 8 | 5;  // st_rdev of /dev/zero

constexpr bool page_aligned(std::uint64_t address) {
    return address % kPageSize == 0;
}

// New code: the monitor replaces the instructions in it whose results would not repeat.
void scan_code(std::uint64_t address, std::uint64_t size) {
    control().scan_base = address;
    control().scan_size = size;
    stop<abi::kPortScanCode>();
}

Result place_mapping(std::uint64_t address, std::uint64_t size, unsigned flags) {
    if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0) {
        if (!page_aligned(address)) {
            return failure(EINVAL);
        }
        if ((flags & MAP_FIXED_NOREPLACE) != 0 && !address_space().is_free(address, size)) {
            return failure(EEXIST);
        }
        if (!address_space().map_at(address, size)) {
            return failure(ENOMEM);
        }
        return static_cast<std::int64_t>(address);
    }
    if (address != 0 && page_aligned(address) && address_space().is_free(address, size)) {
        (void)address_space().map_at(address, size);
        return static_cast<std::int64_t>(address);
    }
    const auto place = address_space().map(size);
    return place ? Result(static_cast<std::int64_t>(*place)) : failure(ENOMEM);
}

// The file's bytes from `offset` on, copied: a private mapping of a file that never changes.
Result copy_file(File& file, std::uint64_t address, std::uint64_t size, std::uint64_t offset) {
    const iovec piece{reinterpret_cast<void*>(address), size};
    Buffers buffers({&piece, 1});
    while (buffers.remaining() != 0) {
        const Result count = file.read_at(buffers, offset);
        if (count.failed() || count.raw() == 0) {
            return count;
        }
        offset += static_cast<std::uint64_t>(count.raw());
    }
    return 0;
}

}  // namespace

Result sys_brk(std::uint64_t wanted) {
    return static_cast<std::int64_t>(address_space().set_break(wanted));
}

Result sys_mmap(std::uint64_t address, std::uint64_t size, unsigned protection, unsigned flags, int fd,
                std::uint64_t offset) {
    if (size == 0 || !page_aligned(offset) || size > boot().memory_size) {
        return failure(size == 0 || !page_aligned(offset) ? EINVAL : ENOMEM);
    }
    const unsigned type = flags & MAP_TYPE;
    if (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE) {
        return failure(EINVAL);
    }
    FileReference<> file;
    if ((flags & MAP_ANONYMOUS) == 0) {
        file = FileReference<>(descriptors().find(fd));
        if (!file) {
            return failure(EBADF);
        }
        struct stat status {};
        file->describe(status);
        const bool regular = (status.st_mode & kFileTypeMask) == kRegularFile;
        if (!regular && status.st_rdev == kZeroDevice) {
            file = {};  // /dev/zero: the same as no file
        } else if (!regular || (type != MAP_PRIVATE && (protection & PROT_WRITE) != 0)) {
            return failure(regular ? EACCES : ENODEV);
        }
    }
    const Result place = place_mapping(address, size, flags);
    if (place.failed()) {
        return place;
    }
    const auto start = static_cast<std::uint64_t>(place.raw());
    if (file) {
        const Result copied = copy_file(*file, start, page_up(size), offset);
        if (copied.failed()) {
            address_space().unmap(start, size);
            return copied;
        }
    }
    if ((protection & PROT_EXEC) != 0 && file) {
        scan_code(start, page_up(size));
    }
    return place;
}

Result sys_munmap(std::uint64_t address, std::uint64_t size) {
    if (!page_aligned(address) || size == 0 || address + size < address) {
        return failure(EINVAL);
    }
    address_space().unmap(address, size);
    return 0;
}

Result sys_mprotect(std::uint64_t address, std::uint64_t size, unsigned protection) {
    if (!page_aligned(address) || address + size < address) {
        return failure(EINVAL);
    }
    if (size != 0 && !address_space().is_mapped(address, size)) {
        return failure(ENOMEM);
    }
    if ((protection & PROT_EXEC) != 0 && size != 0) {
        scan_code(address, page_up(size));
    }
    return 0;
}

Result sys_mremap(std::uint64_t address, std::uint64_t old_size, std::uint64_t new_size, unsigned flags,
                  std::uint64_t new_address) {
    constexpr unsigned kKnown = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    if (!page_aligned(address) || new_size == 0 || old_size == 0 || (flags & ~kKnown) != 0 ||
        ((flags & MREMAP_FIXED) != 0 && (flags & MREMAP_MAYMOVE) == 0) || (flags & MREMAP_DONTUNMAP) != 0) {
        return failure(EINVAL);
    }
    if (new_size > boot().memory_size) {
        return failure(ENOMEM);
    }
    if (!address_space().is_mapped(address, old_size)) {
        return failure(EFAULT);
    }
    if ((flags & MREMAP_FIXED) == 0) {
        if (page_up(new_size) <= page_up(old_size)) {
            address_space().unmap(address + page_up(new_size), page_up(old_size) - page_up(new_size));
            return static_cast<std::int64_t>(address);
        }
        if (address_space().extend(address, old_size, new_size)) {
            return static_cast<std::int64_t>(address);
        }
        if ((flags & MREMAP_MAYMOVE) == 0) {
            return failure(ENOMEM);
        }
    } else if (!page_aligned(new_address) || (new_address < address + old_size && address < new_address + new_size)) {
        return failure(EINVAL);
    }
    const Result place = place_mapping(new_address, new_size, (flags & MREMAP_FIXED) != 0 ? unsigned{MAP_FIXED} : 0U);
    if (place.failed()) {
        return place;
    }
    std::memcpy(reinterpret_cast<void*>(place.raw()), reinterpret_cast<const void*>(address),
                std::min(page_up(old_size), page_up(new_size)));
    address_space().unmap(address, old_size);
    return place;
}

Result sys_madvise(std::uint64_t address, std::uint64_t size, int advice) {
    if (!page_aligned(address) || address + size < address) {
        return failure(EINVAL);
    }
    if (advice < 0 || (advice > MADV_DONTNEED && advice < MADV_FREE) || advice > MADV_COLLAPSE) {
        return failure(EINVAL);
    }
    if (size != 0 && !address_space().is_mapped(address, size)) {
        return failure(ENOMEM);
    }
    if (advice == MADV_DONTNEED) {
        AddressSpace::clear(address, page_up(size));  // a program may rely on it; MADV_FREE promises nothing
    }
    return 0;
}

Result sys_msync(std::uint64_t address, std::uint64_t size, int /*flags*/) {
    return !page_aligned(address) ? failure(EINVAL)
                                  : (address_space().is_mapped(address, size) ? Result(0) : failure(ENOMEM));
}

Result sys_mlock(std::uint64_t /*address*/, std::uint64_t /*size*/) {
    return 0;  // memory never leaves
}

Result sys_mincore(std::uint64_t address, std::uint64_t size, std::uint8_t* resident) {
    const std::uint64_t pages = page_up(size) / kPageSize;
    if (!page_aligned(address)) {
        return failure(EINVAL);
    }
    if (!accessible(resident, pages)) {
        return failure(EFAULT);
    }
    if (!address_space().is_mapped(address, size)) {
        return failure(ENOMEM);
    }
    std::memset(resident, 1, pages);
    return 0;
}

}  // namespace understudy::kernel
