// The driver's side of a queue, in guest memory: what a guest would do there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "common/bytes.hpp"
#include "hypervisor/device/virtqueue.hpp"

namespace understudy::device::testing {

constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWrite = 2;
constexpr std::uint16_t kIndirect = 4;

struct Buffer {
    std::uint64_t address = 0;
    std::uint32_t bytes = 0;
    bool writable = false;
};

// Rings at `base`, which takes 64 KiB, and behind them whatever the test likes. Chains are put at the next free
// descriptors; the driver of a test has enough of them.
class Driver {
  public:
    Driver(GuestMemory& memory, std::uint64_t base, std::uint32_t size) : memory_(memory), base_(base), size_(size) {}

    [[nodiscard]] understudy_queue queue() const {
        understudy_queue queue{};
        queue.size_max = queue.size = size_;
        queue.ready = 1;
        queue.descriptors = base_;
        queue.available = available();
        queue.used = used();
        return queue;
    }
    [[nodiscard]] std::uint64_t available() const { return base_ + 0x8000; }
    [[nodiscard]] std::uint64_t used() const { return base_ + 0xc000; }

    void describe(std::uint16_t at, const Buffer& buffer, std::uint16_t flags, std::uint16_t next) {
        describe_in(base_, at, buffer, flags, next);
    }
    void describe_in(std::uint64_t table, std::uint16_t at, const Buffer& buffer, std::uint16_t flags,
                     std::uint16_t next) {
        std::byte* to = memory_.range({table + std::uint64_t{at} * 16}, 16)->data();
        write_little_endian(to, buffer.address);
        write_little_endian(to + 8, buffer.bytes);
        write_little_endian(to + 12, static_cast<std::uint16_t>(flags | (buffer.writable ? kWrite : 0)));
        write_little_endian(to + 14, next);
    }

    // Puts out a chain and returns its head.
    std::uint16_t put(const std::vector<Buffer>& buffers) {
        const std::uint16_t head = next_descriptor_;
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            const bool last = i + 1 == buffers.size();
            const auto at = next_descriptor_++;
            describe(at, buffers[i], last ? 0 : kNext, next_descriptor_);
        }
        put_head(head);
        return head;
    }
    void put_head(std::uint16_t head) {
        write16(available() + 4 + 2 * std::uint64_t{next_ % size_}, head);
        set_index(++next_);
    }
    void set_index(std::uint16_t index) { write16(available() + 2, index); }

    struct Used {
        std::uint32_t head;
        std::uint32_t written;
        bool operator==(const Used&) const = default;
    };
    // What the device has given back since the last call.
    std::vector<Used> take_used() {
        std::vector<Used> result;
        const auto index = *memory_.read<std::uint16_t>({used() + 2});
        for (; seen_ != index; ++seen_) {
            result.push_back(*memory_.read<Used>({used() + 4 + 8 * std::uint64_t{seen_ % size_}}));
        }
        return result;
    }

    void write16(std::uint64_t at, std::uint16_t value) { write_little_endian(memory_.range({at}, 2)->data(), value); }
    // Asks for an event when the device has given back chain number `index`.
    void want_event_at(std::uint16_t index) { write16(available() + 4 + 2 * std::uint64_t{size_}, index); }
    [[nodiscard]] std::uint16_t watched() const {
        return *memory_.read<std::uint16_t>({used() + 4 + std::uint64_t{8} * size_});
    }

    void store(std::uint64_t at, std::span<const std::byte> bytes) {
        std::ranges::copy(bytes, memory_.range({at}, bytes.size())->begin());
    }
    void store(std::uint64_t at, std::string_view text) { store(at, as_bytes(text)); }
    [[nodiscard]] std::vector<std::byte> load(std::uint64_t at, std::size_t size) const {
        const auto bytes = *memory_.range({at}, size);
        return {bytes.begin(), bytes.end()};
    }

  private:
    GuestMemory& memory_;
    std::uint64_t base_;
    std::uint32_t size_;
    std::uint16_t next_ = 0;
    std::uint16_t seen_ = 0;
    std::uint16_t next_descriptor_ = 0;
};

}  // namespace understudy::device::testing
