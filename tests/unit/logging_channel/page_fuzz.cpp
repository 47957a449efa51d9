// Any bytes as the pages of a delta: they are refused, or are so many whole pages, which can be encoded again.
#include <cstdint>
#include <cstdlib>

#include "common/units.hpp"
#include "logging_channel/page_codec.hpp"
#include "tests/fuzz_source.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace understudy;
    FuzzSource source(data, size);
    EncodedPages pages;
    pages.compressed = source.u8() % 4 != 0;
    pages.numbers.resize(source.u16() % (2 * channel::kMaxEncodedPages));
    for (std::uint64_t& number : pages.numbers) {
        number = source.u8();
    }
    pages.differences.resize(pages.numbers.size());
    const std::uint8_t flags = source.u8();
    for (std::size_t i = 0; i < pages.differences.size(); ++i) {
        pages.differences[i] = (flags >> i % 8 & 1) != 0;
    }
    const auto content = source.take(size);
    pages.content.assign(content.begin(), content.end());
    channel::PageDecoder decoder;
    for (int i = 0; i < 2; ++i) {
        const auto decoded = decoder.decode(pages);
        if (!decoded) {
            continue;
        }
        if (decoded->size() != pages.numbers.size() * kPageBytes) {
            std::abort();
        }
        channel::PageEncoder encoder;
        channel::PageDecoder again;
        if (again.decode(encoder.encode(pages.numbers, *decoded)) != decoded ||
            again.decode(encoder.encode(pages.numbers, *decoded)) != decoded) {
            std::abort();
        }
    }
    return 0;
}
