// One connection to a PostgreSQL server, for who has a thread to wait on it.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/address.hpp"
#include "tools/verifier/libpq.hpp"

namespace understudy::tools {

class PostgresLink {
  public:
    // Connects as user `postgres` to the database of that name. `stopped`, if there is one, outlives the object: once
    // it is true, whatever waits ends with an error. Throws understudy::Error, as ask() does: refused, closed by the
    // other side, silent for longer than `patience`. The connection is of no use then.
    PostgresLink(const Address& server, std::chrono::milliseconds patience, const std::atomic<bool>* stopped = nullptr);

    // One statement, committed when this returns; the first column of its rows, nothing for NULL. Throws Refused, too:
    // the server answered with an error, and the connection goes on.
    std::vector<std::optional<std::string>> ask(const std::string& statement,
                                                const std::vector<std::string>& parameters = {});

  private:
    using Clock = std::chrono::steady_clock;

    void connect(Clock::time_point deadline);
    void send(const std::string& statement, const std::vector<std::string>& parameters, Clock::time_point deadline);
    [[nodiscard]] PostgresResult receive(Clock::time_point deadline);
    void await(short events, Clock::time_point deadline, std::string_view what) const;
    [[noreturn]] void fail() const;

    std::string server_;
    std::chrono::milliseconds patience_;
    const std::atomic<bool>* stopped_;
    PostgresHandle connection_;
};

}  // namespace understudy::tools
