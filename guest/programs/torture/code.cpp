// Code that is made at run time: written, executed, rewritten, under one mapping or two.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

#include "guest/programs/torture/caught.hpp"

namespace understudy::torture {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Function = std::uint64_t (*)();

void append(Bytes& code, std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) {
        code.push_back(static_cast<std::uint8_t>(byte));
    }
}

// A function that computes something, and asks the processor what differs between two of them.
Bytes some_function(Random& random) {
    Bytes code;
    append(code, {0x53, 0x48, 0x31, 0xc0});  // push rbx; xor rax, rax
    for (std::uint64_t i = random.between(1, 30); i > 0; --i) {
        const auto byte = static_cast<unsigned>(random.below(256));
        switch (random.below(10)) {
            case 0:
                append(code, {0x49, 0x89, 0xc0, 0x31, 0xc0, 0x31, 0xc9, 0x0f, 0xa2});  // mov r8, rax; CPUID leaf 0
                append(code, {0x48, 0x01, 0xd8, 0x48, 0x01, 0xc8, 0x4c, 0x01, 0xc0});  // add rbx, rcx, r8
                break;
            case 1:
                append(code, {0x49, 0x89, 0xc0, 0x0f, 0x31, 0x48, 0x01, 0xd0, 0x4c, 0x01, 0xc0});  // RDTSC
                break;
            case 2:
                append(code, {0x31, 0xc9, 0xba, 0x2b, 0x00, 0x00, 0x00, 0x0f, 0x03, 0xca, 0x48, 0x01, 0xc8});  // LSL
                break;
            case 3:  // an immediate that looks like CPUID
                append(code, {0xb9, 0x0f, 0xa2, 0x0f, 0xa2, 0x48, 0x01, 0xc8});
                break;
            case 4:
                append(code, {0xd9, 0xe8, 0xd9, 0xfa, 0xdd, 0xd8});  // fld1; fsqrt; fstp st0
                break;
            default:
                append(code, {0x48, 0x05, byte, 0x00, 0x00, 0x00, 0x48, 0xc1, 0xc0, byte & 31U});  // add; rol
        }
    }
    append(code, {0x5b, 0xc3});  // pop rbx; ret
    return code;
}

void call(Context& context, const void* code) {
    const Caught caught =
        run_caught(context.seen, [&] { context.seen.add(reinterpret_cast<Function>(const_cast<void*>(code))()); });
    if (caught.signal != 0) {
        const auto* const bytes = static_cast<const std::uint8_t*>(code);
        const std::uint64_t offset = caught.address - reinterpret_cast<std::uint64_t>(bytes);
        dprintf(STDOUT_FILENO, "signal %d, code %d, address %#lx: code at %p", caught.signal, caught.code,
                caught.address, code);
        for (std::uint64_t i = offset < 4096 ? offset : 0, end = i + 16; i < end; ++i) {
            dprintf(STDOUT_FILENO, " %02x", bytes[i]);
        }
        dprintf(STDOUT_FILENO, "\n");
    }
    expect(caught.signal == 0, "generated code runs");
}

// As compilers at run time do: writable or executable, in turn.
void write_then_execute(Context& context) {
    const Pages pages(context.random.between(1, 4) * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    for (std::uint64_t i = context.random.between(1, 8); i > 0; --i) {
        mprotect(pages.data(), pages.size(), PROT_READ | PROT_WRITE);
        const Bytes code = some_function(context.random);
        std::uint8_t* const at = pages.data() + context.random.below(pages.size() - code.size());
        std::memcpy(at, code.data(), code.size());
        mprotect(pages.data(), pages.size(), PROT_READ | PROT_EXEC);
        call(context, at);
        mprotect(pages.data(), pages.size(), PROT_READ | PROT_WRITE);
        expect(std::memcmp(at, code.data(), code.size()) == 0, "code reads as it was written, to who may write it");
    }
    context.seen.add_bytes(pages.data(), pages.size());
}

// All rights at once.
void write_and_execute(Context& context) {
    const Pages pages(2 * kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS);
    for (std::uint64_t i = context.random.between(1, 12); i > 0; --i) {
        const Bytes code = some_function(context.random);
        std::uint8_t* const at = pages.data() + context.random.below(pages.size() - code.size());
        std::memcpy(at, code.data(), code.size());
        call(context, at);
        if (context.random.one_in(2)) {
            // A stop in the middle of things: others run, who may come to the same frames.
            getppid();
            call(context, at);
        }
    }
    context.seen.add_bytes(pages.data(), pages.size());
}

// One file, written here and executed there.
void two_mappings(Context& context) {
    const int file = memfd_create("code", MFD_CLOEXEC);
    expect(file >= 0 && ftruncate(file, 2 * kPage) == 0, "memfd_create");
    {
        const Pages writable(2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file);
        const Pages executable(2 * kPage, PROT_READ | PROT_EXEC, MAP_SHARED, file);
        for (std::uint64_t i = context.random.between(1, 8); i > 0; --i) {
            const Bytes code = some_function(context.random);
            const std::size_t at = context.random.below(writable.size() - code.size());
            if (context.random.one_in(3)) {
                expect(
                    pwrite(file, code.data(), code.size(), static_cast<off_t>(at)) == static_cast<ssize_t>(code.size()),
                    "a file of code can be written");
            } else {
                std::memcpy(writable.data() + at, code.data(), code.size());
            }
            call(context, executable.data() + at);
        }
        context.seen.add_bytes(executable.data(), executable.size());
    }
    close(file);
}

// A function written over while its pages are executable, a byte at a time, and called after each.
void patched(Context& context) {
    const Pages pages(kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS);
    // mov eax, imm32; ret
    static constexpr std::array<std::uint8_t, 6> kReturn = {0xb8, 0, 0, 0, 0, 0xc3};
    const std::size_t place = context.random.below(kPage - kReturn.size());
    std::memcpy(pages.data() + place, kReturn.data(), kReturn.size());
    for (std::uint64_t i = context.random.between(2, 16); i > 0; --i) {
        const auto byte = static_cast<std::uint8_t>(context.random.next());
        pages.data()[place + 1] = byte;
        expect(reinterpret_cast<Function>(pages.data() + place)() == byte,
               "a patched function returns what it was patched to");
    }
}

// A number as compilers at run time have them in tables beside their code and within it; many look like instructions.
std::uint64_t some_number(Random& random) {
    static constexpr std::array<std::uint64_t, 8> kLooks = {0xa20f,   0x30d9, 0x30dd,   0xf8c7,
                                                            0xf8c70f, 0x000f, 0xca030f, 0x310f};
    const std::uint64_t looks = kLooks[random.below(kLooks.size())];
    return looks << 8 * random.below(6);
}

// What is read beside code that is executed is what was written there.
void data_beside_code(Context& context) {
    const std::uint64_t count = context.random.between(100, 1000);
    // mov ecx, count; lea rdx, table; xor eax, eax; again: add rax, [rdx]; add rdx, 8; dec ecx; jnz again; ret
    Bytes code = {0xb9,
                  static_cast<std::uint8_t>(count),
                  static_cast<std::uint8_t>(count >> 8),
                  0,
                  0,
                  0x48,
                  0x8d,
                  0x15,
                  0x0f,
                  0x00,
                  0x00,
                  0x00,
                  0x31,
                  0xc0,
                  0x48,
                  0x03,
                  0x02,
                  0x48,
                  0x83,
                  0xc2,
                  0x08,
                  0xff,
                  0xc9,
                  0x75,
                  0xf5,
                  0xc3,
                  0x90};
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t number = some_number(context.random);
        sum += number;
        const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&number);
        code.insert(code.end(), bytes, bytes + sizeof number);
    }
    const int file = context.random.one_in(2) ? memfd_create("code", MFD_CLOEXEC) : -1;
    expect(file < 0 || ftruncate(file, 3 * kPage) == 0, "memfd_create");
    const int flags = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    const bool like_a_program = context.random.one_in(2);
    {
        const Pages pages(3 * kPage, PROT_READ | PROT_WRITE, flags, file);
        if (like_a_program) {
            std::memcpy(pages.data(),
                        "\x7f"
                        "ELF",
                        4);
        }
        std::uint8_t* const at = pages.data() + 64;
        std::memcpy(at, code.data(), code.size());
        mprotect(pages.data(), pages.size(), PROT_READ | PROT_EXEC);
        expect(reinterpret_cast<Function>(at)() == sum, "data beside code is what it was");
        context.seen.add(sum);
    }
    if (file >= 0) {
        close(file);
    }
}

// As translators of programs do: code that others execute is mapped to be read alone, whatever its rights permit.
void code_as_data(Context& context) {
    const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    const auto size = static_cast<std::uint64_t>(std::max<off_t>(lseek(file, 0, SEEK_END), kPage));
    const std::uint64_t from = context.random.below(size / kPage) * kPage;
    const std::uint64_t length = std::min(size - from, context.random.between(1, 64) * kPage);
    const int populate = context.random.one_in(2) ? MAP_POPULATE : 0;
    void* const mapped =
        mmap(nullptr, length, PROT_READ | PROT_EXEC, MAP_PRIVATE | populate, file, static_cast<off_t>(from));
    expect(mapped != MAP_FAILED, "a program's file can be mapped");
    Bytes written(length);
    expect(pread(file, written.data(), length, static_cast<off_t>(from)) == static_cast<ssize_t>(length),
           "a program's file can be read");
    expect(std::memcmp(mapped, written.data(), length) == 0, "code that is only read is what its file says");
    context.seen.add_bytes(mapped, length);
    munmap(mapped, length);
    close(file);
}

constexpr std::array kOperations = {
    Operation{"data-beside-code", data_beside_code},
    Operation{"code-as-data", code_as_data},
    Operation{"write-then-execute", write_then_execute},
    Operation{"write-and-execute", write_and_execute},
    Operation{"two-mappings", two_mappings},
    Operation{"patched", patched},
};

}  // namespace

std::span<const Operation> code_operations() {
    return kOperations;
}

}  // namespace understudy::torture
