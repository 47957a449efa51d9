// What a Linux guest writes, page by page: for a delta, whose interval nobody can run again, and for a checkpoint.
#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <utility>

#include "common/digest.hpp"
#include "hypervisor/machine/linux_machine.hpp"

namespace understudy::machine {
namespace {

// A copy of all memory is dear, and most programs enter the kernel by themselves if they are given a little more time.
// Kicks, not milliseconds: only one that finds the vCPU running proves that the program had that time.
constexpr unsigned kKicksUntilMissed = 3;
constexpr unsigned kKicksUntilAll = 6;

// Increasing, each once.
void in_order(std::vector<std::uint64_t>& pages) {
    std::ranges::sort(pages);
    pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
}

void for_each_part(std::span<const std::uint64_t> pages,
                   const std::function<void(std::span<const std::uint64_t>)>& take) {
    for (std::size_t done = 0; done < pages.size(); done += kWrittenPagesAtOnce) {
        take(pages.subspan(done, std::min(kWrittenPagesAtOnce, pages.size() - done)));
    }
}

}  // namespace

void LinuxMachine::track_writes(const Budget& budget) {
    kicks_passed_ = 0;
    const bool wanted = notes_all_writes_ || (budget.written != nullptr && write_tracking_.wanted(clock_at_stop_));
    if (wanted != tracks_writes_ && !cannot_track_) {
        tracks_writes_ = engine_->track_writes(wanted) && wanted;
        cannot_track_ = wanted && !tracks_writes_;
        writable_pages_.clear();
    } else if (tracks_writes_ && budget.forget_writes && !notes_all_writes_) {
        engine_->forget_writes(engine_->written_pages());
        writable_pages_.clear();
    }
}

// Whether what the interval wrote can be copied, or nobody wants it.
bool LinuxMachine::may_interrupt(const Budget& budget) {
    if (budget.written == nullptr || tracks_writes_) {
        return true;
    }
    if (cannot_track_) {
        return false;
    }
    if (++kicks_passed_ == kKicksUntilMissed) {
        write_tracking_.missed(clock_at_stop_);
    }
    return kicks_passed_ >= kKicksUntilAll;
}

// Before anything is done at the stop. What the monitor itself wrote since the last stop was applied is in three
// places.
void LinuxMachine::copy_written(const Budget& budget) {
    std::vector<std::uint64_t> pages = engine_->written_pages();
    for (const std::uint64_t address : {places_.control, places_.ram, interrupted_at_->value}) {
        pages.push_back(address / x86::kPageBytes);
    }
    in_order(pages);
    copy(pages, *budget.written);
    const auto tracked = writable_pages_.copied(pages, budget.copies_worth_a_first_write, [this](std::uint64_t page) {
        return digest(memory_.pages({page, 1}));
    });
    engine_->forget_writes(tracked);
    pages_tracked_ = tracked.size();
}

// All that can have been written. What nobody has written by now was zero at the last stop, in every replica, and is.
void LinuxMachine::copy_all(WrittenPages& written) {
    const auto [pages, zeros] = memory_.ever_written();
    copy(pages, written);
    for_each_part(zeros, [&written](std::span<const std::uint64_t> part) {
        written.take({part.begin(), part.end()}, {});
    });
    pages_tracked_.reset();
}

void LinuxMachine::copy(std::span<const std::uint64_t> pages, WrittenPages& written) {
    for_each_part(pages, [&](std::span<const std::uint64_t> part) {
        std::vector<std::byte> content;
        content.reserve(part.size() * kPageBytes);
        for (const std::uint64_t page : part) {
            const auto bytes = memory_.pages({page, 1});
            content.insert(content.end(), bytes.begin(), bytes.end());
        }
        written.take({part.begin(), part.end()}, std::move(content));
    });
}

void LinuxMachine::take_written(WrittenPages& written) {
    if (notes_all_writes_) {
        std::vector<std::uint64_t> pages = memory_.take_noted();
        if (tracks_writes_) {  // else nothing has run since the guest started again
            const auto by_guest = engine_->written_pages();
            engine_->forget_writes(by_guest);
            pages.insert(pages.end(), by_guest.begin(), by_guest.end());
        }
        in_order(pages);
        copy(pages, written);
        return;
    }
    tracks_writes_ = engine_->track_writes(true);
    if (!tracks_writes_) {
        throw Error("KVM on this host does not tell which pages a guest writes: it cannot be checkpointed");
    }
    notes_all_writes_ = true;
    memory_.note_writes();
    copy(memory_.ever_written().pages, written);
}

bool LinuxMachine::overwrite(std::span<const std::uint64_t> pages, std::span<const std::byte> content) {
    static constexpr std::array<std::byte, kPageBytes> kZeros{};
    if (!content.empty() && (content.size() / kPageBytes != pages.size() || content.size() % kPageBytes != 0)) {
        return false;
    }
    for (std::size_t i = 0; i < pages.size(); ++i) {
        if (pages[i] >= memory_.size().value / kPageBytes) {
            return false;
        }
        // Most pages of a copy of all memory are the same, and not to be touched.
        const auto page = *memory_.range({pages[i] * kPageBytes}, kPageBytes);
        const auto there = content.empty() ? std::span(kZeros) : content.subspan(i * kPageBytes, kPageBytes);
        if (std::memcmp(page.data(), there.data(), kPageBytes) != 0) {
            std::ranges::copy(there, page.begin());
        }
    }
    forget_translations_ = true;
    return true;
}

}  // namespace understudy::machine
