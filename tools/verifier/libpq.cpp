#include "tools/verifier/libpq.hpp"

#include <libpq-fe.h>

#include <algorithm>
#include <array>

namespace understudy::tools {

void PostgresFinish::operator()(pg_conn* connection) const {
    ::PQfinish(connection);
}

void PostgresClear::operator()(pg_result* result) const {
    ::PQclear(result);
}

PostgresHandle begin_postgres(const std::string& address, const std::string& port) {
    // The environment's PGHOST and the like say nothing here: encryption would only hide what is measured.
    constexpr std::array kNames = {
        "hostaddr", "port", "user", "dbname", "sslmode", "gssencmode", static_cast<const char*>(nullptr)};
    const std::array values = {
        address.c_str(), port.c_str(), "postgres", "postgres", "disable", "disable", static_cast<const char*>(nullptr)};
    return PostgresHandle(::PQconnectStartParams(kNames.data(), values.data(), 0));
}

std::string postgres_error(const PostgresHandle& connection) {
    return connection ? one_line(::PQerrorMessage(connection.get())) : "no memory for a connection";
}

std::string postgres_error(const pg_result& result) {
    std::string message = one_line(::PQresultErrorMessage(&result));
    return message.empty() ? ::PQresStatus(::PQresultStatus(&result)) : message;
}

std::string one_line(std::string_view text) {
    while (text.ends_with('\n')) {
        text.remove_suffix(1);
    }
    std::string line(text);
    std::ranges::replace(line, '\n', ' ');
    return line;
}

}  // namespace understudy::tools
