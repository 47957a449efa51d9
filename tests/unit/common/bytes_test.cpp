#include "common/bytes.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "common/codec.hpp"

namespace understudy {
namespace {

TEST(LittleEndian, PutsTheLowestByteFirstInEveryKindOfBuffer) {
    std::string text;
    append_little_endian(text, std::uint32_t{0x01020304});
    EXPECT_EQ(text, "\x04\x03\x02\x01");
    std::vector<std::byte> bytes;
    append_little_endian(bytes, std::uint16_t{0xfffe});
    EXPECT_EQ(bytes, (std::vector{std::byte{0xfe}, std::byte{0xff}}));
}

template <typename Integer>
void survives(Integer value) {
    std::vector<std::byte> bytes;
    append_little_endian(bytes, value);
    ASSERT_EQ(bytes.size(), sizeof value);
    EXPECT_EQ(read_little_endian<Integer>(bytes), value);
}

TEST(LittleEndian, ReadsWhatItWrote) {
    survives(std::uint8_t{0x80});
    survives(std::numeric_limits<std::uint16_t>::max());
    survives(std::uint32_t{0x80000001});
    survives(std::numeric_limits<std::uint64_t>::max() - 1);
}

TEST(Codec, DecodesFieldByFieldWhatWasEncoded) {
    std::string out;
    Encoder(out).u8(7).u16(600).u32(70'000).u64(1ULL << 40).flag(true).bytes("name");
    Decoder decoder(out);
    EXPECT_EQ(decoder.u8(), 7);
    EXPECT_EQ(decoder.u16(), 600);
    EXPECT_EQ(decoder.u32(), 70'000U);
    EXPECT_EQ(decoder.u64(), 1ULL << 40);
    EXPECT_TRUE(decoder.flag());
    EXPECT_EQ(decoder.string(16), "name");
    EXPECT_TRUE(decoder.finished());
}

TEST(Codec, AfterTheFirstThingThatDoesNotFitEverythingIsEmpty) {
    std::string out;
    Encoder(out).bytes("a name beyond its bound").u32(9);
    Decoder decoder(out);
    EXPECT_EQ(decoder.bytes(4), "");
    EXPECT_FALSE(decoder.ok());
    EXPECT_EQ(decoder.u32(), 0U);
    EXPECT_FALSE(decoder.finished());
}

TEST(Codec, EveryTruncationShows) {
    std::string out;
    Encoder(out).u64(1).bytes("text").u16(2);
    for (std::size_t size = 0; size < out.size(); ++size) {
        Decoder decoder(std::string_view(out).substr(0, size));
        static_cast<void>(decoder.u64());
        static_cast<void>(decoder.bytes(8));
        static_cast<void>(decoder.u16());
        EXPECT_FALSE(decoder.ok()) << size;
    }
}

}  // namespace
}  // namespace understudy
