// A compiler that hands the source on to driver.cpp, with its macros.
#include <cstring>
#include <string>

struct Program { std::string source, image; };
extern "C" {
int nvrtcCreateProgram(void** p, const char* source, const char*, int, const char* const*, const char* const*) {
    *p = new Program{source, ""};
    return 0;
}
int nvrtcCompileProgram(void* p, int count, const char* const* options) {
    Program* program = (Program*)p;
    program->image = "// soft\n";
    for (int i = 0; i < count; i++)
        if (strncmp(options[i], "--define-macro=", 15) == 0) program->image += "#define " + std::string(options[i] + 15) + "\n";
    program->image += program->source;
    return 0;
}
int nvrtcGetPTXSize(void* p, size_t* n) { *n = ((Program*)p)->image.size() + 1; return 0; }
int nvrtcGetPTX(void* p, char* out) { memcpy(out, ((Program*)p)->image.c_str(), ((Program*)p)->image.size() + 1); return 0; }
int nvrtcGetProgramLogSize(void*, size_t* n) { *n = 1; return 0; }
int nvrtcGetProgramLog(void*, char* out) { *out = 0; return 0; }
int nvrtcDestroyProgram(void** p) { delete (Program*)*p; *p = nullptr; return 0; }
int nvrtcVersion(int* a, int* b) { *a = 13; *b = 0; return 0; }
const char* nvrtcGetErrorString(int) { return "error of the compiler that stands in"; }
}
