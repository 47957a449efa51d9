// What the tests ask of processes behind their objects' backs.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <fstream>
#include <string>

namespace understudy::tools::testing {

// A zombie exists.
inline bool exists(pid_t pid) {
    return ::kill(pid, 0) == 0;
}

// Gone, or another's to reap.
inline bool has_ended(pid_t pid) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string number;
    std::string name;
    std::string state;
    return !(stat >> number >> name >> state) || state == "Z" || state == "X";
}

}  // namespace understudy::tools::testing
