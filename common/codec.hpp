// Integers and length-prefixed strings, field by field, to and from bytes (little-endian, see bytes.hpp). A Decoder
// never throws and never reads past its end: after the first thing that does not fit, ok() is false and every further
// value is empty.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/bytes.hpp"

namespace understudy {

class Encoder {
  public:
    explicit Encoder(std::string& out) : out_(out) {}

    template <std::unsigned_integral Integer>
    Encoder& integer(Integer value) {
        append_little_endian(out_, value);
        return *this;
    }
    Encoder& u8(std::uint8_t v) { return integer(v); }
    Encoder& u16(std::uint16_t v) { return integer(v); }
    Encoder& u32(std::uint32_t v) { return integer(v); }
    Encoder& u64(std::uint64_t v) { return integer(v); }
    Encoder& flag(bool v) { return u8(v ? 1 : 0); }
    Encoder& bytes(std::string_view v) {
        u32(static_cast<std::uint32_t>(v.size()));
        out_.append(v);
        return *this;
    }

  private:
    std::string& out_;
};

class Decoder {
  public:
    explicit Decoder(std::string_view in) : rest_(in) {}

    template <std::unsigned_integral Integer>
    Integer integer() {
        if (!ok_ || rest_.size() < sizeof(Integer)) {
            ok_ = false;
            return 0;
        }
        const auto value = read_little_endian<Integer>(rest_.data());
        rest_.remove_prefix(sizeof(Integer));
        return value;
    }
    std::uint8_t u8() { return integer<std::uint8_t>(); }
    std::uint16_t u16() { return integer<std::uint16_t>(); }
    std::uint32_t u32() { return integer<std::uint32_t>(); }
    std::uint64_t u64() { return integer<std::uint64_t>(); }
    bool flag() {
        const auto value = u8();
        if (value > 1) {
            ok_ = false;
        }
        return value == 1;
    }
    // A view into the input, of at most `limit` bytes.
    std::string_view bytes(std::size_t limit) {
        const std::size_t size = u32();
        if (!ok_ || size > limit || size > rest_.size()) {
            ok_ = false;
            return {};
        }
        const auto value = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return value;
    }
    std::string string(std::size_t limit) { return std::string(bytes(limit)); }
    // For counts: refuses more than `limit`.
    std::size_t count(std::size_t limit) {
        const std::size_t value = u32();
        if (value > limit) {
            ok_ = false;
        }
        return ok_ ? value : 0;
    }
    void fail() { ok_ = false; }

    [[nodiscard]] bool ok() const { return ok_; }
    // Everything decoded and nothing left over.
    [[nodiscard]] bool finished() const { return ok_ && rest_.empty(); }
    [[nodiscard]] std::size_t remaining() const { return rest_.size(); }

  private:
    std::string_view rest_;
    bool ok_ = true;
};

}  // namespace understudy
