// The four memory functions that compilers call by themselves, and the string functions that lwIP uses. No vector
// registers: the program's SSE state is live while the kernel runs.
#include <cstddef>
#include <cstdint>

namespace {

// Below this REP's start-up costs more than a loop over words.
constexpr std::size_t kRepThreshold = 64;

template <typename Word>
Word load(const void* from) {
    Word word;
    __builtin_memcpy_inline(&word, from, sizeof word);
    return word;
}

template <typename Word>
void store(void* to, Word word) {
    __builtin_memcpy_inline(to, &word, sizeof word);
}

// Copies `size` < 16 bytes with two overlapping words; reads everything before it writes.
void copy_short(unsigned char* to, const unsigned char* from, std::size_t size) {
    if (size >= 8) {
        const auto head = load<std::uint64_t>(from);
        const auto tail = load<std::uint64_t>(from + size - 8);
        store(to, head);
        store(to + size - 8, tail);
    } else if (size >= 4) {
        const auto head = load<std::uint32_t>(from);
        const auto tail = load<std::uint32_t>(from + size - 4);
        store(to, head);
        store(to + size - 4, tail);
    } else if (size >= 2) {
        const auto head = load<std::uint16_t>(from);
        const auto tail = load<std::uint16_t>(from + size - 2);
        store(to, head);
        store(to + size - 2, tail);
    } else if (size == 1) {
        *to = *from;
    }
}

}  // namespace

extern "C" {

void* memcpy(void* __restrict to, const void* __restrict from, std::size_t size) {
    auto* out = static_cast<unsigned char*>(to);
    const auto* in = static_cast<const unsigned char*>(from);
    if (size >= kRepThreshold) {
        asm volatile("rep movsb" : "+D"(out), "+S"(in), "+c"(size) : : "memory");
        return to;
    }
    for (; size >= 16; size -= 16, out += 16, in += 16) {
        store(out, load<std::uint64_t>(in));
        store(out + 8, load<std::uint64_t>(in + 8));
    }
    copy_short(out, in, size);
    return to;
}

void* memmove(void* to, const void* from, std::size_t size) {
    auto* out = static_cast<unsigned char*>(to);
    const auto* in = static_cast<const unsigned char*>(from);
    if (size < 16) {
        copy_short(out, in, size);
    } else if (reinterpret_cast<std::uintptr_t>(out) - reinterpret_cast<std::uintptr_t>(in) >= size) {
        return memcpy(to, from, size);
    } else {
        // Overlapping upwards: from the end, by words, then what is left at the start.
        while (size >= 8) {
            size -= 8;
            store(out + size, load<std::uint64_t>(in + size));
        }
        copy_short(out, in, size);
    }
    return to;
}

void* memset(void* to, int value, std::size_t size) {
    auto* out = static_cast<unsigned char*>(to);
    if (size >= kRepThreshold) {
        asm volatile("rep stosb" : "+D"(out), "+c"(size) : "a"(value) : "memory");
        return to;
    }
    const std::uint64_t word = 0x0101010101010101ULL * static_cast<unsigned char>(value);
    for (; size >= 8; size -= 8, out += 8) {
        store(out, word);
    }
    for (; size > 0; --size, ++out) {
        *reinterpret_cast<volatile unsigned char*>(out) = static_cast<unsigned char>(value);
    }
    return to;
}

int memcmp(const void* left, const void* right, std::size_t size) {
    const auto* a = static_cast<const unsigned char*>(left);
    const auto* b = static_cast<const unsigned char*>(right);
    for (; size >= 8 && load<std::uint64_t>(a) == load<std::uint64_t>(b); size -= 8) {
        a += 8;
        b += 8;
    }
    for (; size > 0; --size, ++a, ++b) {
        if (*a != *b) {
            return *a - *b;
        }
    }
    return 0;
}

void* memchr(const void* bytes, int value, std::size_t size) {
    const auto* p = static_cast<const unsigned char*>(bytes);
    for (; size > 0; --size, ++p) {
        if (*p == static_cast<unsigned char>(value)) {
            return const_cast<unsigned char*>(p);
        }
    }
    return nullptr;
}

std::size_t strlen(const char* text) {
    std::size_t length = 0;
    while (text[length] != '\0') {
        ++length;
    }
    return length;
}

int strncmp(const char* left, const char* right, std::size_t size) {
    for (; size > 0; --size, ++left, ++right) {
        if (*left != *right || *left == '\0') {
            return static_cast<unsigned char>(*left) - static_cast<unsigned char>(*right);
        }
    }
    return 0;
}

int strcmp(const char* left, const char* right) {
    return strncmp(left, right, static_cast<std::size_t>(-1));
}

}  // extern "C"
