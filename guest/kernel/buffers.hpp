// The program's buffers of one read or write, one piece or many (readv), consumed from the front. Whoever makes one has
// checked that the pieces are accessible.
#pragma once

#include <linux/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace understudy::kernel {

constexpr std::size_t kMaxTransfer = 0x7ffff000;  // Linux's bound on one read or write

class Buffers {
  public:
    explicit Buffers(std::span<const iovec> pieces) : pieces_(pieces) {
        for (const iovec& piece : pieces) {
            remaining_ += piece.iov_len;
        }
        skip_empty();
    }

    [[nodiscard]] std::size_t remaining() const { return remaining_; }
    // What lies contiguously at the front; empty only when nothing remains.
    [[nodiscard]] std::span<std::uint8_t> front() const {
        return remaining_ == 0 ? std::span<std::uint8_t>{}
                               : std::span(static_cast<std::uint8_t*>(pieces_.front().iov_base) + offset_,
                                           pieces_.front().iov_len - offset_);
    }
    // Moves on by `count` <= front().size().
    void advance(std::size_t count) {
        offset_ += count;
        remaining_ -= count;
        skip_empty();
    }

    // Into the program's buffers: as much as fits; returns how much that was.
    std::size_t put(const void* from, std::size_t size) {
        const auto* bytes = static_cast<const std::uint8_t*>(from);
        return transfer(size, [&](std::span<std::uint8_t> piece, std::size_t done) {
            std::memcpy(piece.data(), bytes + done, piece.size());
        });
    }
    // Out of them.
    std::size_t take(void* to, std::size_t size) {
        auto* bytes = static_cast<std::uint8_t*>(to);
        return transfer(size, [&](std::span<std::uint8_t> piece, std::size_t done) {
            std::memcpy(bytes + done, piece.data(), piece.size());
        });
    }
    std::size_t fill(std::uint8_t value, std::size_t size) {
        return transfer(
            size, [&](std::span<std::uint8_t> piece, std::size_t) { std::memset(piece.data(), value, piece.size()); });
    }

  private:
    template <typename Copy>
    std::size_t transfer(std::size_t size, Copy copy) {
        std::size_t done = 0;
        while (done < size && remaining_ != 0) {
            const auto piece = front().first(front().size() < size - done ? front().size() : size - done);
            copy(piece, done);
            done += piece.size();
            advance(piece.size());
        }
        return done;
    }
    void skip_empty() {
        while (!pieces_.empty() && offset_ == pieces_.front().iov_len) {
            pieces_ = pieces_.subspan(1);
            offset_ = 0;
        }
    }

    std::span<const iovec> pieces_;
    std::size_t offset_ = 0;
    std::size_t remaining_ = 0;
};

}  // namespace understudy::kernel
