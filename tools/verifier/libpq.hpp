// What connections to PostgreSQL servers, by libpq, have in common, with whatever patience they wait.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct pg_conn;
struct pg_result;

namespace understudy::tools {

struct PostgresFinish {
    void operator()(pg_conn* connection) const;
};
using PostgresHandle = std::unique_ptr<pg_conn, PostgresFinish>;

struct PostgresClear {
    void operator()(pg_result* result) const;
};
using PostgresResult = std::unique_ptr<pg_result, PostgresClear>;

// Begins to connect (PQconnectPoll goes on) as user `postgres`, without a password, to the database of that name.
// `address`: numeric. Nothing: there is no memory for it. One address, and no encryption to fall back from: the socket
// stays the same.
[[nodiscard]] PostgresHandle begin_postgres(const std::string& address, const std::string& port);

// Why a connection failed, in one line.
[[nodiscard]] std::string postgres_error(const PostgresHandle& connection);
// Why a statement did.
[[nodiscard]] std::string postgres_error(const pg_result& result);

// libpq's messages end in a newline, and some have several lines.
[[nodiscard]] std::string one_line(std::string_view text);

}  // namespace understudy::tools
