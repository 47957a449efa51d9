#include "tools/bench/redis_writes.hpp"

#include <utility>

#include "common/error.hpp"
#include "tools/bench/redis_link.hpp"
#include "tools/bench/sentinel.hpp"
#include "tools/verifier/request.hpp"

namespace understudy::tools {
namespace {

// One Sentinel after the other, as long as none knows a master that is one.
RedisLink find_server(const RedisTarget& target, std::size_t attempt, const std::atomic<bool>& stopped) {
    if (target.sentinels.empty()) {
        return RedisLink(target.server, target.patience, &stopped);
    }
    RedisLink ask(target.sentinels[attempt % target.sentinels.size()], target.patience, &stopped);
    ask.send(ask_for_master());
    const auto master = master_of(ask.receive_list());
    if (!master) {
        throw Error("a Sentinel knows no master");
    }
    RedisLink link(*master, target.patience, &stopped);
    link.send(ask_for_role());
    if (!is_master(link.receive_list())) {
        throw Error::format("{} is no master yet", master->text());
    }
    return link;
}

class RedisWriteLink final : public WriteLink {
  public:
    RedisWriteLink(const RedisTarget& target, RedisLink link)
        : replicas_(target.replicas), wait_time_(target.wait_time), link_(std::move(link)) {}

    [[nodiscard]] bool write(const std::string& key, std::uint64_t number) override {
        std::string request = encode_request({"SET", key, std::to_string(number)});
        if (replicas_ > 0) {
            request += encode_request({"WAIT", std::to_string(replicas_), std::to_string(wait_time_.count())});
        }
        link_.send(request);
        const Reply reply = link_.receive();
        const Reply replicas = replicas_ > 0 ? link_.receive() : Reply{};
        if (reply != Reply{.kind = Reply::Kind::status, .text = "OK"}) {
            throw Refused("a write was answered " + describe(reply));
        }
        return replicas_ == 0 || (replicas.kind == Reply::Kind::integer && replicas.integer >= std::int64_t{replicas_});
    }

    [[nodiscard]] std::vector<Reply> read(const std::vector<std::string>& keys) override {
        std::string request;
        for (const std::string& key : keys) {
            request += encode_request({"GET", key});
        }
        link_.send(request);
        std::vector<Reply> found;
        for (std::size_t i = 0; i < keys.size(); ++i) {
            found.push_back(link_.receive());
            if (found.back().kind == Reply::Kind::error) {
                throw Refused("a read was answered " + describe(found.back()));
            }
        }
        return found;
    }

  private:
    unsigned replicas_;
    std::chrono::milliseconds wait_time_;
    RedisLink link_;
};

}  // namespace

WriteTarget redis_writes(RedisTarget target) {
    return {.find = [target = std::move(target)](std::size_t attempt, const std::atomic<bool>& stopped) {
        return std::make_unique<RedisWriteLink>(target, find_server(target, attempt, stopped));
    }};
}

}  // namespace understudy::tools
