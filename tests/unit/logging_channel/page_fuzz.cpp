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
    const auto content = source.take(size);
    pages.content.assign(content.begin(), content.end());
    const auto decoded = channel::decode_pages(pages);
    if (decoded) {
        if (decoded->size() != pages.numbers.size() * kPageBytes) {
            std::abort();
        }
        if (channel::decode_pages(channel::encode_pages(pages.numbers, *decoded)) != decoded) {
            std::abort();
        }
    }
    return 0;
}
