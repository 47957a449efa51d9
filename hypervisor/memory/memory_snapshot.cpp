#include "hypervisor/memory/memory_snapshot.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "common/mapping.hpp"
#include "hypervisor/memory/headroom.hpp"
#include "hypervisor/memory/put_aside.hpp"
#include "hypervisor/memory/write_watch.hpp"

namespace understudy::memory {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBlock = PutAside::kBlock;
// A huge page: what is protected in one step, and given up in one step when it was read.
constexpr std::size_t kPiece = std::size_t{2} << 20U;
constexpr int kUrgent = -10;  // a guest waits
constexpr std::size_t kBlocksPerPiece = kPiece / kBlock;

// Copies what nobody writes to while it is protected: who tries is held by a page fault until the protection is lifted,
// which follows the copying. The thread sanitizer knows nothing of this order and takes that write for a race with the
// copying, so it does not see the copying; the instruction stands here because it would see a call of memcpy.
[[gnu::no_sanitize_thread]] void copy_protected(std::byte* to, const std::byte* from, std::size_t size) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

Bytes budget_of(const SnapshotConfig& config) {
    if (config.put_aside.value != 0) {
        return config.put_aside;
    }
    const auto left = memory_headroom();
    return left ? Bytes{left->value / 2} : Bytes{std::numeric_limits<std::uint64_t>::max()};
}

class Copy final : public MemorySnapshot {
  public:
    Copy(GuestMemory& memory, const SnapshotConfig& config) : memory_(memory), mapping_(mapping_of(memory, config)) {
        populating_ = std::jthread([this](const std::stop_token& stop) {
            for (std::size_t at = 0; at < mapping_.size() && !stop.stop_requested(); at += kBlock) {
                ::madvise(mapping_.data() + at, std::min(kBlock, mapping_.size() - at), MADV_POPULATE_WRITE);
            }
            ready_ = true;
        });
    }
    [[nodiscard]] Bytes size() const override { return {mapping_.size()}; }
    [[nodiscard]] bool ready() const override { return ready_; }
    void take() override {
        populating_ = {};
        std::memcpy(mapping_.data(), memory_.all().data(), mapping_.size());
    }
    void read(std::size_t offset, std::span<std::byte> into) override {
        std::memcpy(into.data(), mapping_.data() + offset, into.size());
    }
    [[nodiscard]] Cost cost() const override { return {{}, size()}; }

  private:
    static Mapping mapping_of(const GuestMemory& memory, const SnapshotConfig& config) {
        const Bytes size = memory.size();
        if (size > budget_of(config)) {
            throw Error::format("this host has too little memory to spare for a copy of the guest's {} MiB",
                                size.value >> 20U);
        }
        Mapping mapping = Mapping::anonymous(size.value);
        if (!mapping) {
            throw Error::from_errno(fmt::format("cannot copy {} MiB of guest memory for a backup", size.value >> 20U),
                                    errno);
        }
        return mapping;
    }

    GuestMemory& memory_;
    Mapping mapping_;
    std::atomic<bool> ready_{false};
    std::jthread populating_;
};

class Protected final : public MemorySnapshot {
  public:
    Protected(GuestMemory& memory, WriteWatch watch, FileDescriptor end, const SnapshotConfig& config)
        : user_(memory),
          memory_(memory.all()),
          watch_(std::move(watch)),
          end_(std::move(end)),
          blocks_((memory_.size() + kBlock - 1) / kBlock),
          aside_(budget_of(config), memory.size()),
          keeper_([this] { keep(); }) {}

    // Whoever waits is woken when the watch forgets.
    ~Protected() override {
        ending_ = true;
        const std::uint64_t one = 1;
        static_cast<void>(::write(end_.get(), &one, sizeof one));
        keeper_.join();
        for (std::size_t at = forgotten_; at < memory_.size(); at += kPiece) {
            watch_.forget(memory_.subspan(at, std::min(kPiece, memory_.size() - at)));
        }
    }
    Protected(const Protected&) = delete;
    Protected& operator=(const Protected&) = delete;

    [[nodiscard]] Bytes size() const override { return {memory_.size()}; }
    [[nodiscard]] bool ready() const override { return ready_; }

    void take() override {
        ready_.wait(false);
        const std::lock_guard lock(mutex_);
        protect_open_blocks(kBlocksPerPiece / 4);
        taken_ = true;
        if (failed_) {
            throw Error("the host refuses to protect the guest's memory from writes");
        }
    }

    void read(std::size_t offset, std::span<std::byte> into) override {
        while (!into.empty()) {
            const std::size_t end = std::min((offset / kBlock + 1) * kBlock, memory_.size());
            const std::size_t size = std::min(into.size(), end - offset);
            read_from(offset, into.first(size), offset + size == end);
            into = into.subspan(size);
            offset += size;
        }
    }

    [[nodiscard]] Cost cost() const override {
        const std::lock_guard lock(mutex_);
        return {longest_wait_, aside_.peak()};
    }

  private:
    struct Block {
        enum class State : std::uint8_t {
            open,  // may be written to
            protected_,
            aside,  // written to since take(): what it held is put aside
            read,   // read, and not yet unprotected
        };
        State state = State::open;
        std::uint32_t aside = 0;  // where
    };
    using State = Block::State;

    [[nodiscard]] std::span<std::byte> blocks(std::size_t first, std::size_t count) const {
        const std::size_t at = first * kBlock;
        return memory_.subspan(at, std::min(count * kBlock, memory_.size() - at));
    }

    // --- Before the stop

    // Piece by piece, so that a guest which writes meanwhile waits for one step at the most. Then again what was
    // written, which is less each time, unless the guest writes everywhere.
    void make_ready() {
        // Between two pieces: a guest on few cores needs them, and a thread that rests is scheduled the sooner when
        // somebody waits for it.
        constexpr auto kBreath = 400us;
        constexpr unsigned kRounds = 4;
        constexpr std::size_t kFew = 128;      // blocks that the stop can do
        constexpr std::size_t kReserve = 256;  // blocks of room, 16 MiB
        while (!ending_ && aside_.prepare_one(kReserve)) {
        }
        for (std::size_t first = 0; first < blocks_.size() && !ending_ && !failed_; first += kBlocksPerPiece) {
            {
                const std::lock_guard lock(mutex_);
                protect(first, std::min(kBlocksPerPiece, blocks_.size() - first));
            }
            wait_for_faults(kBreath);
        }
        for (unsigned round = 1; round < kRounds && !ending_; ++round) {
            const std::lock_guard lock(mutex_);
            if (open_blocks() <= kFew) {
                break;
            }
            protect_open_blocks(0);
        }
        ready_ = true;
        ready_.notify_all();
    }

    [[nodiscard]] std::size_t open_blocks() const {
        return static_cast<std::size_t>(
            std::ranges::count_if(blocks_, [](const Block& block) { return block.state == State::open; }));
    }

    void protect(std::size_t first, std::size_t count) {
        if (!watch_.protect(blocks(first, count))) {
            failed_ = true;
            return;
        }
        for (std::size_t i = first; i < first + count; ++i) {
            blocks_[i].state = State::protected_;
        }
    }

    // Run by run; runs that lie no further apart than `gap` blocks are one.
    void protect_open_blocks(std::size_t gap) {
        std::size_t first = 0;
        std::size_t end = 0;  // of the run that begins at first
        for (std::size_t i = 0; i < blocks_.size(); ++i) {
            if (blocks_[i].state != State::open) {
                continue;
            }
            if (end == 0 || i > end + gap) {
                if (end != 0) {
                    protect(first, end - first);
                    if (!ready_) {
                        serve_faults();
                    }
                }
                first = i;
            }
            end = i + 1;
        }
        if (end != 0) {
            protect(first, end - first);
        }
    }

    // --- From the stop on

    void read_from(std::size_t offset, std::span<std::byte> into, bool to_its_end) {
        const std::lock_guard lock(mutex_);
        if (lost_) {
            throw Error("too much of the guest's state would have to be put aside while it is sent to the backup");
        }
        const std::size_t index = offset / kBlock;
        Block& block = blocks_[index];
        if (block.state == State::aside) {
            std::memcpy(into.data(), aside_.bytes(block.aside).data() + offset % kBlock, into.size());
        } else {
            copy_protected(into.data(), memory_.data() + offset, into.size());
        }
        if (!to_its_end) {
            return;
        }
        if (block.state == State::aside) {
            aside_.give_back(block.aside);
            block.state = State::open;
        } else {
            block.state = State::read;
        }
        if (const std::size_t end = offset + into.size(); end % kPiece == 0 || end == memory_.size()) {
            watch_.forget(memory_.subspan(forgotten_, end - forgotten_));
            forgotten_ = end;
        }
    }

    // The thread that makes ready, and then puts aside what is about to change.
    void keep() {
        ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kUrgent);  // where it is allowed
        make_ready();
        while (!ending_) {
            constexpr std::size_t kReserve = 64;
            const bool prepares = [&] {
                const std::lock_guard lock(mutex_);
                return aside_.prepare_one(kReserve);
            }();
            wait_for_faults(prepares ? std::optional(0ns) : std::nullopt);
        }
    }

    // Until there is one, or the end, or the time has passed if one is given.
    void wait_for_faults(std::optional<std::chrono::nanoseconds> time) {
        std::array<pollfd, 2> waits{{{watch_.descriptor(), POLLIN, 0}, {end_.get(), POLLIN, 0}}};
        const timespec longest{0, time ? static_cast<long>(time->count()) : 0};
        static_cast<void>(::ppoll(waits.data(), waits.size(), time ? &longest : nullptr, nullptr));
        const std::lock_guard lock(mutex_);
        serve_faults();
    }

    void serve_faults() {
        while (const auto address = watch_.next_fault()) {
            const auto begin = Clock::now();
            const std::size_t index = (*address - reinterpret_cast<std::uint64_t>(memory_.data())) / kBlock;
            Block& block = blocks_[index];
            if (block.state == State::protected_ && taken_) {
                put_aside(index);
            } else if (block.state != State::aside) {
                block.state = State::open;
            }
            watch_.unprotect(blocks(index, 1));
            if (taken_) {
                longest_wait_ = std::max<std::chrono::nanoseconds>(longest_wait_, Clock::now() - begin);
            }
        }
    }

    void put_aside(std::size_t index) {
        Block& block = blocks_[index];
        const auto room = lost_ ? std::nullopt : aside_.take();
        if (!room) {
            lost_ = true;  // the guest goes on, the backup does not get its state
            block.state = State::open;
            return;
        }
        const auto bytes = blocks(index, 1);
        copy_protected(aside_.bytes(*room).data(), bytes.data(), bytes.size());
        block = {State::aside, *room};
    }

    const GuestMemory::SnapshotUse user_;
    std::span<std::byte> memory_;
    WriteWatch watch_;
    FileDescriptor end_;
    std::atomic<bool> ending_{false};
    std::atomic<bool> ready_{false};
    mutable std::mutex mutex_;  // of what follows
    std::vector<Block> blocks_;
    PutAside aside_;
    bool taken_ = false;
    bool failed_ = false;        // the kernel did not protect
    bool lost_ = false;          // there was no room to put something aside
    std::size_t forgotten_ = 0;  // offset up to which memory was read and is watched no more
    std::chrono::nanoseconds longest_wait_{0};
    std::thread keeper_;  // last: it uses the rest
};

}  // namespace

std::unique_ptr<MemorySnapshot> prepare_snapshot(GuestMemory& memory, const SnapshotConfig& config) {
    memory.stop_populating();
    FileDescriptor end(::eventfd(0, EFD_CLOEXEC));
    if (auto watch = WriteWatch::of(memory.all()); watch && end) {
        return std::make_unique<Protected>(memory, std::move(*watch), std::move(end), config);
    }
    return std::make_unique<Copy>(memory, config);
}

bool can_protect_memory() {
    return WriteWatch::possible();
}

}  // namespace understudy::memory
