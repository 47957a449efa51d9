#include "tools/bench/postgres_writes.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/error.hpp"
#include "common/require.hpp"
#include "tools/bench/postgres_link.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

// Who connects costs the server a process, whatever it is told: clients by the dozen that come back sooner would keep
// the machine from promoting.
constexpr auto kRetry = 100ms;

PostgresLink find_server(const PostgresTarget& target, std::size_t attempt, const std::atomic<bool>& stopped) {
    const Address& server = target.servers[attempt % target.servers.size()];
    PostgresLink link(server, target.patience, &stopped);
    if (link.ask("select pg_is_in_recovery()").at(0) != "f") {
        throw Error::format("{} is a standby", server.text());
    }
    return link;
}

class PostgresWriteLink final : public WriteLink {
  public:
    explicit PostgresWriteLink(PostgresLink link) : link_(std::move(link)) {}

    [[nodiscard]] bool write(const std::string& key, std::uint64_t number) override {
        link_.ask("insert into writes values ($1, $2::bigint) on conflict (key) do update set number = excluded.number",
                  {key, std::to_string(number)});
        return true;
    }

    // Keys are words and digits: none needs quotes in an array.
    [[nodiscard]] std::vector<Reply> read(const std::vector<std::string>& keys) override {
        const auto rows = link_.ask(
            "select number from unnest($1::text[]) with ordinality as asked(key, place) left join writes using (key) "
            "order by place",
            {fmt::format("{{{}}}", fmt::join(keys, ","))});
        require(rows.size() == keys.size(), "a left join has a row for each key");
        std::vector<Reply> found;
        std::ranges::transform(rows, std::back_inserter(found), [](const auto& row) {
            return row ? Reply{.kind = Reply::Kind::text, .text = *row} : Reply{};
        });
        return found;
    }

  private:
    PostgresLink link_;
};

}  // namespace

void make_table_for_writes(const PostgresTarget& target) {
    PostgresLink(target.servers.front(), target.patience)
        .ask("create table writes (key text primary key, number bigint not null)");
}

WriteTarget postgres_writes(PostgresTarget target) {
    return {.find =
                [target = std::move(target)](std::size_t attempt, const std::atomic<bool>& stopped) {
                    return std::make_unique<PostgresWriteLink>(find_server(target, attempt, stopped));
                },
            .retry = kRetry};
}

}  // namespace understudy::tools
