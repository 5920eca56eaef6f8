@echo off
rem Installs the course from this folder and opens it. No network is used. A folder may be named after the command.
rem This only looks for a 64-bit Python that the kit has packages for (@or_pythons@); programs\start.py does the rest.
setlocal
set "HERE=%~dp0"
set "FITS=import sys; sys.exit(sys.version_info[:2] not in [@tuples@] or sys.maxsize < 2**32)"
for %%V in (@pythons@) do (
    py -%%V -c "%FITS%" >nul 2>nul && set "PYTHON=py -%%V" && goto found
)
for %%P in (@names@ python python3) do (
    %%P -c "%FITS%" >nul 2>nul && set "PYTHON=%%P" && goto found
)
echo No 64-bit Python that fits was found on this computer. This kit needs Python @or_pythons@.
echo Installers may lie in the folder python of this kit:
dir /b "%HERE%python"
echo Install one (tick "Add python.exe to PATH"), then start this again.
echo.
pause
exit /b 1

:found
%PYTHON% -B "%HERE%programs\start.py" %*
if errorlevel 1 (
    echo.
    pause
    exit /b 1
)
