// Any bytes as a server's answers: each taken off, until more is needed or it is no answer; then judged. And as a list.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tools/verifier/key_model.hpp"
#include "tools/verifier/reply.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace understudy::tools;
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    const auto list = decode_list(rest);
    if (list.size > rest.size() || list.replies.size() > size) {
        std::abort();
    }
    KeyModel model("fuzz", 3);
    while (!rest.empty()) {
        const auto decoded = decode_reply(rest);
        if (decoded.status != DecodedReply::Status::reply) {
            break;
        }
        if (decoded.size == 0 || decoded.size > rest.size()) {
            std::abort();
        }
        rest.remove_prefix(decoded.size);
        const auto judgement = model.judge(model.next(), decoded.reply);
        if ((judgement.contradiction || judgement.lost_writes > 0) == judgement.finding.empty()) {
            std::abort();
        }
    }
    return 0;
}
