// Mappings, rights, faults, guard pages, copy on write.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

#include "guest/programs/torture/caught.hpp"

namespace understudy::torture {
namespace {

constexpr int kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;

int random_rights(Random& random) {
    static constexpr std::array kRights = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC};
    return kRights[random.below(kRights.size())];
}

// Random rights, random accesses: each that is refused is seen.
void rights(Context& context) {
    const std::size_t count = context.random.between(1, 24);
    const Pages pages(count * kPage, PROT_READ | PROT_WRITE, kAnonymous);
    for (std::uint64_t i = context.random.between(5, 40); i > 0; --i) {
        const std::size_t first = context.random.below(count);
        const std::size_t some = context.random.between(1, count - first);
        mprotect(pages.data() + first * kPage, some * kPage, random_rights(context.random));
        volatile std::uint8_t* const at = pages.data() + context.random.below(count * kPage - 8);
        const std::uint64_t kind = context.random.below(4);
        const auto value = static_cast<std::uint8_t>(context.random.next());
        run_caught(context.seen, [&] {
            if (kind == 0) {
                *at = value;
            } else if (kind == 1) {
                *at = static_cast<std::uint8_t>(*at + value);
            } else if (kind == 2) {
                __atomic_fetch_add(const_cast<std::uint64_t*>(reinterpret_cast<volatile std::uint64_t*>(at)), value,
                                   __ATOMIC_SEQ_CST);
            } else {
                context.seen.add(static_cast<std::uint8_t>(*at));
            }
        });
    }
}

Pages* mended = nullptr;
void mend(int /*signal*/, siginfo_t* info, void* /*context*/) {
    const auto address = reinterpret_cast<std::uint64_t>(info->si_addr);
    const auto begin = reinterpret_cast<std::uint64_t>(mended->data());
    if (address < begin || address >= begin + mended->size()) {
        _exit(3);
    }
    mprotect(mended->data() + (address - begin) / kPage * kPage, kPage, PROT_READ | PROT_WRITE);
}

// A handler that gives the right that was missing, as collectors of garbage and snapshots in user space do.
void barrier(Context& context) {
    Pages pages(context.random.between(2, 40) * kPage, PROT_READ | PROT_WRITE, kAnonymous);
    std::memset(pages.data(), 1, pages.size());
    mprotect(pages.data(), pages.size(), PROT_READ);
    mended = &pages;
    struct sigaction action {};
    action.sa_sigaction = mend;
    action.sa_flags = SA_SIGINFO;
    struct sigaction before {};
    sigaction(SIGSEGV, &action, &before);
    for (std::uint64_t i = context.random.between(4, 60); i > 0; --i) {
        volatile std::uint8_t& byte = pages.data()[context.random.below(pages.size())];
        byte = static_cast<std::uint8_t>(byte + i);
    }
    // String instructions that run from a page that is there into one that is not.
    auto* to = pages.data() + context.random.below(kPage);
    const auto* from = pages.data() + pages.size() / 2;
    std::size_t bytes = std::min<std::size_t>(context.random.below(pages.size() / 2), pages.size() / 2 - kPage / 2);
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    sigaction(SIGSEGV, &before, nullptr);
    context.seen.add_bytes(pages.data(), pages.size());
}

// A child and its parent write what they share.
void copy_on_write(Context& context) {
    const Pages pages(context.random.between(1, 64) * kPage, PROT_READ | PROT_WRITE, kAnonymous);
    for (std::size_t at = 0; at < pages.size(); at += kPage) {
        pages.data()[at] = static_cast<std::uint8_t>(at / kPage);
    }
    const pid_t child = fork();
    expect(child >= 0, "fork");
    Random random(context.random.next() + (child == 0 ? 1 : 0));
    for (std::uint64_t i = random.between(1, 80); i > 0; --i) {
        auto& word = *reinterpret_cast<std::uint64_t*>(pages.data() + random.below(pages.size() / 8) * 8);
        __atomic_fetch_add(&word, random.next(), __ATOMIC_RELAXED);
    }
    Checksum sum;
    sum.add_bytes(pages.data(), pages.size());
    if (child == 0) {
        _exit(static_cast<int>(sum.value() & 0x7f));
    }
    int status = 0;
    expect(waitpid(child, &status, 0) == child, "waitpid");
    expect(WIFEXITED(status), "a child that writes ends by itself");
    context.seen.add(status);
    context.seen.add(sum.value());
}

// Mapped, moved, dropped and mapped again, at the same places.
void map_again(Context& context) {
    std::array<std::uint8_t*, 8> places{};
    std::array<std::size_t, 8> sizes{};
    for (std::uint64_t i = context.random.between(10, 50); i > 0; --i) {
        const std::size_t slot = context.random.below(places.size());
        auto*& place = places[slot];
        if (place == nullptr) {
            sizes[slot] = context.random.between(1, 32) * kPage;
            place = static_cast<std::uint8_t*>(mmap(nullptr, sizes[slot], PROT_READ | PROT_WRITE,
                                                    kAnonymous | (context.random.one_in(3) ? MAP_POPULATE : 0), -1, 0));
            expect(place != MAP_FAILED, "mmap");
        } else if (context.random.one_in(3)) {
            const std::size_t size = context.random.between(1, 40) * kPage;
            void* const moved = mremap(place, sizes[slot], size, MREMAP_MAYMOVE);
            expect(moved != MAP_FAILED, "mremap");
            place = static_cast<std::uint8_t*>(moved);
            sizes[slot] = size;
        } else if (context.random.one_in(3)) {
            madvise(place, sizes[slot], MADV_DONTNEED);
        } else if (context.random.one_in(2)) {
            munmap(place, sizes[slot]);
            place = nullptr;
            continue;
        }
        auto& byte = place[context.random.below(sizes[slot])];
        byte = static_cast<std::uint8_t>(byte + 1);
        context.seen.add(static_cast<std::uint8_t>(byte));
        context.seen.add(reinterpret_cast<std::uint64_t>(place));
    }
    for (std::size_t slot = 0; slot < places.size(); ++slot) {
        if (places[slot] != nullptr) {
            munmap(places[slot], sizes[slot]);
        }
    }
}

// One file, mapped several times, with holes and beyond its end.
void mapped_file(Context& context) {
    const int file = memfd_create("mapped", MFD_CLOEXEC);
    expect(file >= 0, "memfd_create");
    const std::size_t size = context.random.between(1, 16) * kPage;
    expect(ftruncate(file, static_cast<off_t>(size)) == 0, "ftruncate");
    {
        const Pages shared(size, PROT_READ | PROT_WRITE, MAP_SHARED, file);
        const Pages copied(size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file);
        for (std::uint64_t i = context.random.between(4, 40); i > 0; --i) {
            const std::size_t at = context.random.below(size);
            (context.random.one_in(2) ? shared : copied).data()[at] = static_cast<std::uint8_t>(i);
            context.seen.add(copied.data()[context.random.below(size)]);
            if (context.random.one_in(10)) {
                const auto shorter = static_cast<off_t>(context.random.below(size));
                expect(ftruncate(file, shorter) == 0, "ftruncate");
                run_caught(context.seen, [&] { context.seen.add(shared.data()[context.random.below(size)]); });
                expect(ftruncate(file, static_cast<off_t>(size)) == 0, "ftruncate");
            }
        }
        context.seen.add_bytes(shared.data(), shared.size());
    }
    close(file);
}

[[gnu::noinline]] std::uint64_t descend(std::uint64_t depth) {
    volatile std::uint8_t room[512];
    room[depth % sizeof room] = static_cast<std::uint8_t>(depth);
    return depth == 0 ? 0 : descend(depth - 1) + room[depth % sizeof room];
}

// The stack grows, by faults.
void deep_stack(Context& context) {
    context.seen.add(descend(context.random.below(2000)));
}

// The kernel moves pages to make room for large ones, as whoever asks for a thread's stack may have it do.
void moved_pages(Context& context) {
    constexpr std::size_t kPages = 512;
    const int compact = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);
    if (compact < 0) {
        return;  // not root
    }
    const Pages pages(2 * kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    for (std::size_t i = 0; i < 2 * kPages; ++i) {
        pages.data()[i * kPage] = 1;
    }
    for (std::size_t i = 0; i < 2 * kPages; i += 2) {  // holes, so that there is something to move
        madvise(pages.data() + i * kPage, kPage, MADV_DONTNEED);
    }
    const auto value = static_cast<std::uint8_t>(context.random.between(2, 255));
    expect(write(compact, "1", 1) == 1, "compact_memory");
    close(compact);
    for (std::size_t i = 1; i < 2 * kPages; i += 2) {
        pages.data()[i * kPage] = value;
    }
    const pid_t child = fork();  // nothing is left of old translations
    expect(child >= 0, "fork");
    if (child == 0) {
        _exit(0);
    }
    expect(waitpid(child, nullptr, 0) == child, "waitpid");
    for (std::size_t i = 1; i < 2 * kPages; i += 2) {
        expect(pages.data()[i * kPage] == value, "what was written to a page that has moved is there");
    }
}

constexpr std::array kOperations = {
    Operation{"rights", rights},
    Operation{"barrier", barrier},
    Operation{"copy-on-write", copy_on_write},
    Operation{"map-again", map_again},
    Operation{"mapped-file", mapped_file},
    Operation{"deep-stack", deep_stack},
    Operation{"moved-pages", moved_pages},
};

}  // namespace

std::span<const Operation> memory_operations() {
    return kOperations;
}

}  // namespace understudy::torture
