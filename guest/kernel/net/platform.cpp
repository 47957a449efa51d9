// What lwIP calls: the clock, random numbers, memory for its timers, checksums, assertions.
#include "guest/kernel/net/platform.hpp"

#include <array>
#include <bit>
#include <cstring>

#include "guest/kernel/clock.hpp"
#include "guest/kernel/control.hpp"
#include "guest/kernel/net/lwip.hpp"
#include "guest/kernel/panic.hpp"

namespace understudy::kernel::net {

namespace {

// Keys of this boot, from the host's entropy.
struct Secrets {
    std::uint64_t sequence_key[2];
    std::uint64_t random_key[2];
    std::uint64_t drawn;
};
constinit Secrets secrets{};

// SipHash-2-4 (Aumasson, Bernstein 2012) of whole words: a keyed function that cannot be predicted without its key.
class SipHash {
  public:
    explicit SipHash(const std::uint64_t (&key)[2])
        : v_{key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
             key[1] ^ 0x7465646279746573} {}

    void add(std::uint64_t word) {
        v_[3] ^= word;
        rounds(2);
        v_[0] ^= word;
        size_ += sizeof word;
    }
    std::uint64_t finish() {
        add(size_ << 56);
        v_[2] ^= 0xff;
        rounds(4);
        return v_[0] ^ v_[1] ^ v_[2] ^ v_[3];
    }

  private:
    void rounds(int count) {
        for (int i = 0; i < count; ++i) {
            v_[0] += v_[1];
            v_[1] = std::rotl(v_[1], 13) ^ v_[0];
            v_[0] = std::rotl(v_[0], 32);
            v_[2] += v_[3];
            v_[3] = std::rotl(v_[3], 16) ^ v_[2];
            v_[0] += v_[3];
            v_[3] = std::rotl(v_[3], 21) ^ v_[0];
            v_[2] += v_[1];
            v_[1] = std::rotl(v_[1], 17) ^ v_[2];
            v_[2] = std::rotl(v_[2], 32);
        }
    }
    std::array<std::uint64_t, 4> v_;
    std::uint64_t size_ = 0;
};

// The timers that lwIP can have at once.
struct TimeoutSlot {
    alignas(16) std::uint8_t bytes[sizeof(sys_timeo)];
    bool used;
};
constinit TimeoutSlot timeouts[MEMP_NUM_SYS_TIMEOUT]{};

}  // namespace

void seed_random() {
    fill_random({reinterpret_cast<std::uint8_t*>(&secrets), offsetof(Secrets, drawn)});
}

}  // namespace understudy::kernel::net

using namespace understudy::kernel;
using namespace understudy::kernel::net;

extern "C" {

std::uint32_t sys_now() {
    return static_cast<std::uint32_t>(now() / kMillisecond);
}

std::uint32_t understudy_random() {
    SipHash hash(secrets.random_key);
    hash.add(secrets.drawn++);
    return static_cast<std::uint32_t>(hash.finish());
}

std::uint32_t understudy_initial_sequence(const ip4_addr* local, std::uint16_t local_port, const ip4_addr* remote,
                                          std::uint16_t remote_port) {
    SipHash hash(secrets.sequence_key);
    hash.add(std::uint64_t{local->addr} << 32 | remote->addr);
    hash.add(std::uint64_t{local_port} << 16 | remote_port);
    // Linux's clock, faster than RFC 793's: a connection that follows another between the same ports begins behind what
    // that one sent, unless it sent more than 15 MB/s.
    constexpr Nanoseconds kStep = 64;
    return static_cast<std::uint32_t>(hash.finish() + now() / kStep);
}

// In the place of memp_malloc and memp_free in lwIP's timeouts.c.
void* understudy_allocate_timeout(memp_t /*type*/) {
    for (TimeoutSlot& slot : timeouts) {
        if (!slot.used) {
            slot.used = true;
            return slot.bytes;
        }
    }
    return nullptr;
}
void understudy_free_timeout(memp_t /*type*/, void* timeout) {
    for (TimeoutSlot& slot : timeouts) {
        slot.used &= slot.bytes != timeout;
    }
}

// The Internet checksum's sum, folded and not inverted, by 64-bit words: the end-around carry of one's complement
// addition does not care how the words are grouped.
std::uint16_t understudy_checksum(const void* bytes, int size) {
    const auto* at = static_cast<const std::uint8_t*>(bytes);
    auto left = static_cast<std::size_t>(size);
    std::uint64_t sum = 0;
    const auto add = [&sum](std::uint64_t word) {
        sum += word;
        sum += sum < word ? 1 : 0;
    };
    const auto word_at = [&at](std::size_t offset) {
        std::uint64_t word = 0;
        __builtin_memcpy_inline(&word, at + offset, sizeof word);
        return word;
    };
    for (; left >= 32; left -= 32, at += 32) {
        add(word_at(0));
        add(word_at(8));
        add(word_at(16));
        add(word_at(24));
    }
    for (; left >= 8; left -= 8, at += 8) {
        add(word_at(0));
    }
    std::uint64_t tail = 0;
    for (std::size_t i = 0; i < left; ++i) {
        tail |= std::uint64_t{at[i]} << 8 * i;
    }
    add(tail);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

void understudy_lwip_assertion(const char* text) {
    panic(text);
}
}
