#pragma once

#include <exception>
#include <string>

namespace understudy::tools::testing {

// The message of the exception that `act` ends with; empty when it ends without.
template <typename Act>
std::string error_of(Act act) {
    try {
        act();
    } catch (const std::exception& error) {
        return error.what();
    }
    return "";
}

}  // namespace understudy::tools::testing
